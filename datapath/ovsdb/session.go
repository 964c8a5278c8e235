package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"golang.org/x/sync/errgroup"
)

// Options of a session. The zero value is what is used in production.
type Options struct {
	// Bridge is the integration bridge, "br-int" when empty.
	Bridge string
	// Handshake bounds the time from Accept to the first picture; 10 s when 0.
	Handshake time.Duration
	// ProbeInterval is how often a sign of life is asked for; 5 s when 0.
	ProbeInterval time.Duration
	// DeadAfter ends a session on which no message was completed, or none could
	// be written, for so long; three probe intervals when 0.
	DeadAfter time.Duration
	// ApplyTimeout bounds how long Ensure waits for the switch to do what the
	// database says; 10 s when 0.
	ApplyTimeout time.Duration
	// MaxMessage bounds one message of the host in bytes; 16 MiB when 0, room
	// for some 30,000 interfaces.
	MaxMessage int
	// MaxRows bounds the rows of the tables watched; 200,000 when 0.
	MaxRows int
}

func (o Options) withDefaults() Options {
	setDefault(&o.Bridge, "br-int")
	setDefault(&o.Handshake, 10*time.Second)
	setDefault(&o.ProbeInterval, 5*time.Second)
	setDefault(&o.DeadAfter, 3*o.ProbeInterval)
	setDefault(&o.ApplyTimeout, 10*time.Second)
	setDefault(&o.MaxMessage, 16<<20)
	setDefault(&o.MaxRows, 200_000)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Session is a connection with one host's database. All methods may be called
// from any goroutine.
type Session struct {
	o      Options
	peer   string
	schema schema
	db     client.Client

	picture atomic.Pointer[picture]
	changed chan struct{}

	// taking serialises the making of pictures: the first one is made by Accept,
	// all others by the gate.
	taking sync.Mutex
	ready  bool // guarded by taking: the first picture may be made

	ensuring chan struct{} // holds one token while nobody is in Ensure
	// made is the UUID of the bridge that this session made, "" if it made none. It is
	// that of whoever holds the token.
	made string

	ctx  context.Context
	end  context.CancelCauseFunc
	done chan struct{}
}

// The ends of a session that callers tell apart.
var (
	// ErrClosed is the Err of a session that was ended by Close.
	ErrClosed = errors.New("the session was closed")
	// ErrPeerClosed is the Err of a session whose host has closed the connection, whether
	// a read or a write has found out. It wraps the cause.
	ErrPeerClosed = errors.New("it closed the connection")
)

// Accept begins a session on a connection that a host has made (its
// ovsdb-server, following set-manager), and returns when it has the host's whole
// picture. The session owns nc from here on, whatever Accept returns, and lasts
// until ctx ends, Close is called or the connection fails; every error names the
// peer.
func Accept(ctx context.Context, nc net.Conn, o Options) (*Session, error) {
	o = o.withDefaults()
	s := &Session{
		o: o, peer: peerName(nc), schema: usedSchema(),
		changed:  make(chan struct{}, 1),
		ensuring: make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	s.ensuring <- struct{}{}
	s.ctx, s.end = context.WithCancelCause(ctx)
	dir, listener, err := s.listen()
	if err != nil {
		s.end(err)
		_ = nc.Close()
		return nil, s.named(err)
	}
	go s.serve(nc, dir, listener)
	if err := s.handshake(); err != nil {
		s.end(err)
		<-s.done
		return nil, s.Err()
	}
	return s, nil
}

// peerName is the host's address; a unix socket has none.
func peerName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return "local peer"
}

func (s *Session) named(err error) error {
	return fmt.Errorf("ovsdb session with %s: %w", s.peer, err)
}

// listen makes the library and the socket that it will dial, once. The socket's
// directory is for this user only, and is gone when the library has dialled.
func (s *Session) listen() (dir string, listener net.Listener, err error) {
	m, err := databaseModel()
	if err != nil {
		return "", nil, fmt.Errorf("the row types are wrong: %w", err)
	}
	if dir, err = os.MkdirTemp("", "ofctl-lab-ovsdb-"); err != nil {
		return "", nil, fmt.Errorf("no directory for the local socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	path := filepath.Join(dir, "s")
	if listener, err = net.Listen("unix", path); err != nil {
		return "", nil, fmt.Errorf("no local socket (is TMPDIR too long a path?): %w", err)
	}
	endpoint := url.URL{Scheme: "unix", Path: path}
	logger := logr.New(errorSink{s.end})
	if s.db, err = client.NewOVSDBClient(m, client.WithEndpoint(endpoint.String()), client.WithLogger(&logger)); err != nil {
		_ = listener.Close()
		return "", nil, fmt.Errorf("the client library: %w", err)
	}
	return dir, listener, nil
}

// serve is the session's life: it takes the library's one call, runs the gate
// between it and nc, and leaves nothing behind.
func (s *Session) serve(nc net.Conn, dir string, listener net.Listener) {
	defer close(s.done)
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(s.ctx, func() { _ = listener.Close() })
	library, err := listener.Accept()
	stop()
	_ = listener.Close()
	_ = os.RemoveAll(dir)
	if err != nil {
		s.end(fmt.Errorf("the client library did not call: %w", err))
		return
	}
	g := &gate{
		host: nc, library: library, o: s.o, schema: s.schema,
		pending: map[uint64]string{}, fenced: make(chan struct{}, 1), applied: s.take,
	}
	var group errgroup.Group
	for _, part := range []func() error{
		func() error { return g.fromHost(s.ctx) },
		g.fromLibrary,
		func() error { return g.probe(s.ctx) },
		func() error {
			<-s.ctx.Done()
			// The library ends when its connection does, and fails what it waits for.
			_ = nc.Close()
			return library.Close()
		},
	} {
		group.Go(func() error {
			err := part()
			s.end(err)
			return err
		})
	}
	_ = group.Wait() // the first error is the context's cause
}

// handshake has the library connect and monitor, and takes the first picture.
func (s *Session) handshake() error {
	// The library's calls end with its connection and never by their context. It
	// would hang up at once, which hides why, and it reads the variable for the
	// reply even then, while its reader may be writing it.
	ctx := context.WithoutCancel(s.ctx)
	timer := time.AfterFunc(s.o.Handshake, func() {
		s.end(fmt.Errorf("it did not complete the handshake within %v", s.o.Handshake))
	})
	defer timer.Stop()
	if err := s.db.Connect(ctx); err != nil {
		return err
	}
	monitor := s.db.NewMonitor()
	for table := range s.schema {
		monitor.Tables = append(monitor.Tables, client.TableMonitor{Table: table, Fields: s.schema.columns(table)})
	}
	if _, err := s.db.Monitor(ctx, monitor); err != nil {
		return err
	}
	s.taking.Lock()
	s.ready = true
	s.taking.Unlock()
	return s.take()
}

// take makes a picture of the library's rows, and wakes whoever waits for one.
func (s *Session) take() error {
	s.taking.Lock()
	defer s.taking.Unlock()
	if !s.ready {
		return nil
	}
	before := s.picture.Load()
	p, err := takePicture(s.db.Cache(), s.o, s.peer, before)
	if err != nil {
		return err
	}
	news := before == nil || !p.facts.equal(before.facts)
	if !news {
		p.facts = before.facts
	}
	s.picture.Store(p)
	if before != nil {
		close(before.superseded)
	}
	if news {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// Facts is the newest picture of the host, never nil.
func (s *Session) Facts() *Facts { return s.picture.Load().facts }

// Changed receives a value when Facts has changed since the last receive: one
// value for any number of changes.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Done is closed when the session has ended and nothing of it is left running.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is why the session ended, and names the peer; nil until Done is closed.
func (s *Session) Err() error {
	select {
	case <-s.done:
		return s.named(context.Cause(s.ctx))
	default:
		return nil
	}
}

// Close ends the session and waits until nothing of it runs.
func (s *Session) Close() {
	s.end(ErrClosed)
	<-s.done
}

// errorSink ends the session at the first error that the library logs. It only
// logs, and goes on with a picture that is no longer true, when an update cannot
// be applied.
type errorSink struct{ end context.CancelCauseFunc }

func (errorSink) Init(logr.RuntimeInfo)            {}
func (errorSink) Enabled(int) bool                 { return false }
func (errorSink) Info(int, string, ...any)         {}
func (e errorSink) WithValues(...any) logr.LogSink { return e }
func (e errorSink) WithName(string) logr.LogSink   { return e }
func (e errorSink) Error(err error, msg string, _ ...any) {
	e.end(fmt.Errorf("the client library: %s: %w", msg, err))
}
