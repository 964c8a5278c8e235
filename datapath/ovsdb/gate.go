package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// Ids of the requests that the gate makes on its own account. The library
// numbers its requests, so that they cannot be mistaken for each other.
const (
	probeID = `"ofctl-lab probe"` // to the host: is it alive
	fenceID = `"ofctl-lab fence"` // to the library: has it applied the update
)

// gate stands between a host and the library: see the package comment.
//
// Three goroutines use it: fromHost and fromLibrary each own their reading side,
// probe only writes. hostWrite serialises writes to the host.
type gate struct {
	host, library net.Conn
	o             Options
	schema        schema

	hostWrite sync.Mutex

	mu      sync.Mutex
	pending map[uint64]string // method of each request of the library that is unanswered
	cookie  monitorCookie     // of the library's monitor
	// monitoring says that the monitor was answered; before that an update is wrong.
	monitoring bool

	// fenced receives one value when the library has answered the fence.
	fenced chan struct{}
	// applied is called by fromHost when the library has applied every update
	// handed to it and will get no other before the call returns.
	applied func() error
}

// monitorCookie is the <json-value> by which the library knows its monitor.
type monitorCookie struct {
	DatabaseName string `json:"databaseName"`
	ID           string `json:"id"`
}

// maxPending bounds the unanswered requests; a session makes a few.
const maxPending = 64

var errTooLong = errors.New("a message is too long")

// budgetReader reads at most left bytes, then fails.
type budgetReader struct {
	r    io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// fromHost reads the host's messages, in order, and hands on what is right,
// until the connection ends or a message is wrong.
func (g *gate) fromHost(ctx context.Context) error {
	in := &budgetReader{r: g.host}
	dec := json.NewDecoder(in)
	dirty := false // the library has been given updates that no picture shows yet
	for {
		in.left = g.o.MaxMessage
		if err := g.host.SetReadDeadline(time.Now().Add(g.o.DeadAfter)); err != nil {
			return err
		}
		var m message
		if err := dec.Decode(&m); err != nil {
			return g.readError(err)
		}
		if m.Method == "" && dirty {
			// What a response says must be in the picture before the response is heard.
			if err := g.settle(ctx); err != nil {
				return err
			}
			dirty = false
		}
		updated, err := g.hostMessage(m)
		if err != nil {
			return err
		}
		dirty = dirty || updated
		// With more to read at once, one picture serves for all of it.
		var next [1]byte
		if n, _ := dec.Buffered().Read(next[:]); dirty && n == 0 {
			if err := g.settle(ctx); err != nil {
				return err
			}
			dirty = false
		}
	}
}

// readError says in words why reading from the host ended.
func (g *gate) readError(err error) error {
	var timeout net.Error
	switch {
	case closed.Is(err):
		return closed.As(ErrPeerClosed, err)
	case errors.Is(err, errTooLong):
		return fmt.Errorf("it sent a message of more than %d bytes", g.o.MaxMessage)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("nothing complete was heard from it for %v", g.o.DeadAfter)
	case isSyntax(err):
		return fmt.Errorf("it does not speak OVSDB (RFC 7047): %w; is the connection meant for another port?", err)
	default:
		return err
	}
}

func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

// settle waits until the library has applied all it was given.
func (g *gate) settle(ctx context.Context) error {
	if err := g.toLibrary(request{Method: "echo", Params: []any{}, ID: json.RawMessage(fenceID)}); err != nil {
		return err
	}
	select {
	case <-g.fenced:
		return g.applied()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hostMessage handles one message of the host; updated says that the library
// was handed an update.
func (g *gate) hostMessage(m message) (updated bool, err error) {
	switch m.Method {
	case "":
		return false, g.hostResponse(m)
	case "echo": // RFC 7047, 4.1.11
		if isNull(m.ID) {
			return false, errors.New("an echo request without id")
		}
		return false, g.toHost(response{ID: m.ID, Result: m.Params})
	case "update3": // ovsdb-server(7), 4.1.15
		params, err := g.update3(m.Params)
		if err != nil {
			return false, fmt.Errorf("update3: %w", err)
		}
		return true, g.toLibrary(request{Method: "update3", Params: params})
	default:
		return false, fmt.Errorf("a call of %.64q, which no database server makes here", m.Method)
	}
}

// update3 checks the parameters of an update3 notification.
func (g *gate) update3(raw json.RawMessage) ([]any, error) {
	var params []json.RawMessage
	if err := json.Unmarshal(raw, &params); err != nil || len(params) != 3 {
		return nil, errors.New("it has not three parameters")
	}
	var cookie monitorCookie
	g.mu.Lock()
	known := g.monitoring && json.Unmarshal(params[0], &cookie) == nil && cookie == g.cookie
	g.mu.Unlock()
	if !known {
		return nil, errors.New("there is no such monitor")
	}
	var txn string
	if json.Unmarshal(params[1], &txn) != nil || !canonicalUUID(txn) {
		return nil, errors.New("its transaction id is no UUID")
	}
	updates, err := g.schema.tableUpdates2(params[2])
	return []any{cookie, txn, updates}, err
}

// hostResponse handles the answer to a request of the library's or to a probe.
func (g *gate) hostResponse(m message) error {
	if string(m.ID) == probeID {
		return nil
	}
	var id uint64
	if err := json.Unmarshal(m.ID, &id); err != nil {
		return errors.New("a response without a request's id")
	}
	g.mu.Lock()
	method, ok := g.pending[id]
	delete(g.pending, id)
	g.mu.Unlock()
	if !ok {
		return fmt.Errorf("a response to request %d, which was never made", id)
	}
	if !isNull(m.Error) {
		text := errorText(m.Error)
		switch method {
		case "transact":
		case "monitor_cond_since":
			// The library would fall back to monitors that name no transaction.
			return fmt.Errorf("it cannot be monitored (%s); Open vSwitch 2.12 or newer is needed", text)
		default:
			// The library would hang up; this says why.
			return fmt.Errorf("it refused %s: %s", method, text)
		}
		return g.toLibrary(response{ID: m.ID, Error: text})
	}
	result, err := g.result(method, m.Result)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return g.toLibrary(response{ID: m.ID, Result: result})
}

// result checks the result of method and gives what the library is to see.
func (g *gate) result(method string, raw json.RawMessage) (any, error) {
	switch method {
	case "list_dbs": // RFC 7047, 4.1.1
		var names []string
		if err := json.Unmarshal(raw, &names); err != nil {
			return nil, fmt.Errorf("the list of databases does not parse: %w", err)
		}
		for _, name := range names {
			if name == database {
				return []string{database}, nil
			}
		}
		return nil, fmt.Errorf("it serves %.200q and not %s; set-manager must be run on ovs-vswitchd's own database", names, database)
	case "get_schema": // RFC 7047, 4.1.2
		if err := g.schema.check(raw); err != nil {
			return nil, err
		}
		return g.schema, nil
	case "monitor_cond_since": // ovsdb-server(7), 4.1.13
		var list []json.RawMessage
		var txn string
		if err := json.Unmarshal(raw, &list); err != nil || len(list) != 3 || json.Unmarshal(list[1], &txn) != nil || !canonicalUUID(txn) {
			return nil, errors.New("its result has not three parts")
		}
		updates, err := g.schema.tableUpdates2(list[2])
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		g.monitoring = true
		g.mu.Unlock()
		// found is false: the library must take the rows as a whole picture.
		return []any{false, txn, updates}, nil
	case "transact":
		return g.schema.transactResult(raw)
	default:
		return nil, errors.New("an answer to what is never asked")
	}
}

// fromLibrary passes the library's requests on to the host.
func (g *gate) fromLibrary() error {
	dec := json.NewDecoder(g.library)
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			return fmt.Errorf("the client library hung up: %w", err)
		}
		if string(m.ID) == fenceID {
			g.fenced <- struct{}{}
			continue
		}
		if err := g.note(m); err != nil {
			return err
		}
		if err := g.toHost(request{Method: m.Method, Params: m.Params, ID: m.ID}); err != nil {
			return err
		}
	}
}

// note remembers a request of the library's, so that its answer is known.
func (g *gate) note(m message) error {
	var id uint64
	if err := json.Unmarshal(m.ID, &id); err != nil {
		return fmt.Errorf("the client library's %s has no number: %w", m.Method, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Method == "monitor_cond_since" {
		var params []json.RawMessage
		if err := json.Unmarshal(m.Params, &params); err != nil || len(params) < 2 {
			return errors.New("the client library's monitor request has no cookie")
		}
		if err := json.Unmarshal(params[1], &g.cookie); err != nil {
			return fmt.Errorf("the client library's monitor request: %w", err)
		}
	}
	if len(g.pending) >= maxPending {
		return fmt.Errorf("it left %d requests unanswered", len(g.pending))
	}
	g.pending[id] = m.Method
	return nil
}

// probe asks the host for a sign of life every o.ProbeInterval, so that a
// host that is silent because it is idle can be told from one that is gone.
func (g *gate) probe(ctx context.Context) error {
	ticker := time.NewTicker(g.o.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			if err := g.toHost(request{Method: "echo", Params: []any{}, ID: json.RawMessage(probeID)}); err != nil {
				return err
			}
		}
	}
}

func (g *gate) toHost(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	g.hostWrite.Lock()
	defer g.hostWrite.Unlock()
	if err := g.host.SetWriteDeadline(time.Now().Add(g.o.DeadAfter)); err != nil {
		return err
	}
	if _, err := g.host.Write(b); err != nil {
		return closed.As(ErrPeerClosed, fmt.Errorf("write: %w", err))
	}
	return nil
}

func (g *gate) toLibrary(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := g.library.Write(b); err != nil {
		return fmt.Errorf("the client library hung up: %w", err)
	}
	return nil
}
