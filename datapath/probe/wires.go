package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// arrival is a frame that the switch has sent out of a port.
type arrival struct {
	port  string
	frame []byte
}

// maxWaiting is how many arrivals are kept for a trial that does not look at them.
const maxWaiting = 4096

// wires are the ports of the scratch bridges, seen from outside: what is sent to one enters the switch there.
type wires struct {
	conns    map[string]*netdev.PacketConn
	arrivals chan arrival
	stop     context.CancelFunc
	readers  sync.WaitGroup
}

func openWires(ns *netdev.Namespace, names ...string) (*wires, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &wires{conns: map[string]*netdev.PacketConn{}, arrivals: make(chan arrival, maxWaiting), stop: cancel}
	for _, name := range names {
		if _, err := ns.Configure(name, netdev.LinkConfig{State: netdev.Up, IPv6: netdev.IPv6Off, ARP: netdev.Down}); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		conn, err := ns.OpenPacket(name)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.conns[name] = conn
		w.readers.Go(func() { w.read(ctx, name, conn) })
	}
	return w, nil
}

// read passes on what arrives at a port. An interface that goes down meanwhile ends one read with an error.
func (w *wires) read(ctx context.Context, name string, conn *netdev.PacketConn) {
	for ctx.Err() == nil {
		f, err := conn.Next(ctx)
		if err != nil || f.Direction != netdev.Received {
			continue
		}
		select {
		case w.arrivals <- arrival{name, f.Data}:
		default: // a flood that nobody looks at
		}
	}
}

// send puts a frame into a port.
func (w *wires) send(port string, frame []byte) error {
	conn, ok := w.conns[port]
	if !ok {
		return fmt.Errorf("there is no port %s", port)
	}
	return conn.Send(frame)
}

// drain forgets what has arrived.
func (w *wires) drain() {
	for {
		select {
		case <-w.arrivals:
		default:
			return
		}
	}
}

// await waits until a frame arrives as a step wants it. The error says what came instead.
func (w *wires) await(ctx context.Context, st step) (arrival, error) {
	var instead []string
	for {
		select {
		case a := <-w.arrivals:
			seen := describe(a.frame)
			as := seen.has(st.want)
			if a.port == st.at && as {
				return a, nil
			}
			if len(instead) < 4 {
				instead = append(instead, a.port+": "+seen.String())
			}
			if a.port == st.contrary && as {
				return arrival{}, &unlike{fmt.Sprintf("%s arrived at %s and not at %s", st.want, a.port, st.at)}
			}
		case <-ctx.Done():
			if len(instead) == 0 {
				return arrival{}, &unlike{fmt.Sprintf("nothing arrived at %s", st.at)}
			}
			return arrival{}, &unlike{fmt.Sprintf("%s did not arrive at %s; what came: %s", st.want, st.at, strings.Join(instead, "; "))}
		}
	}
}

// Close ends the readers.
func (w *wires) Close() error {
	w.stop()
	var err error
	for _, c := range w.conns {
		err = errors.Join(err, c.Close())
	}
	w.readers.Wait()
	return err
}

// unlike says that a datapath does not do what was tried: it is an answer.
type unlike struct{ text string }

func (e *unlike) Error() string { return e.text }
