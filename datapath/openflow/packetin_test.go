package openflow_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// asking is a connection whose switch sends a batch of packet-ins and, when as many packet-outs have
// come, the next.
type asking struct {
	batch   []byte
	size    int
	read    chan []byte
	rest    []byte
	written []byte
	answers atomic.Int64
	turn    chan struct{} // one each time a batch has been answered
	closed  chan struct{}
}

func newAsking(tb testing.TB, size int) *asking {
	a := &asking{size: size, read: make(chan []byte, 4), turn: make(chan struct{}, 1), closed: make(chan struct{})}
	for i := range size {
		var err error
		a.batch, err = ofp13.AppendPacketIn(a.batch, 0, openflow.PacketIn{
			TotalLen: 60, Match: flows.Match{}.With(flows.InPort, flows.Value{Lo: uint64(i%4 + 1)}), Data: make([]byte, 60),
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	hello, err := ofp13.AppendHello(nil, 1)
	if err != nil {
		tb.Fatal(err)
	}
	a.read <- hello
	return a
}

func (a *asking) Read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		select {
		case a.rest = <-a.read:
		case <-a.closed:
			return 0, io.EOF
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Write answers what the handshake asks, and counts packet-outs.
func (a *asking) Write(b []byte) (int, error) {
	a.written = append(a.written, b...)
	rest := a.written
	for len(rest) >= 8 && len(rest) >= int(binary.BigEndian.Uint16(rest[2:])) {
		n := int(binary.BigEndian.Uint16(rest[2:]))
		xid := binary.BigEndian.Uint32(rest[4:])
		switch ofp13.MsgType(rest[1]) {
		case ofp13.TypeFeaturesRequest:
			reply, _ := ofp13.AppendFeaturesReply(nil, xid, ofp13.Features{DatapathID: 1})
			a.read <- reply
		case ofp13.TypeBarrierRequest:
			reply, _ := ofp13.AppendBarrierReply(nil, xid)
			a.read <- reply
		case ofp13.TypePacketOut:
			if a.answers.Add(1)%int64(a.size) == 0 {
				a.turn <- struct{}{}
			}
		}
		rest = rest[n:]
	}
	a.written = a.written[:copy(a.written, rest)]
	return len(b), nil
}

// ask sends a batch and waits for its answers.
func (a *asking) ask() {
	a.read <- a.batch
	<-a.turn
}

func (a *asking) Close() error {
	select {
	case <-a.closed:
	default:
		close(a.closed)
	}
	return nil
}

func (a *asking) LocalAddr() net.Addr              { return nil }
func (a *asking) RemoteAddr() net.Addr             { return nil }
func (a *asking) SetDeadline(time.Time) error      { return nil }
func (a *asking) SetReadDeadline(time.Time) error  { return nil }
func (a *asking) SetWriteDeadline(time.Time) error { return nil }

// flooding is a session that floods what it is asked about.
func flooding(tb testing.TB, a *asking) *openflow.Conn {
	var conn atomic.Pointer[openflow.Conn]
	flood := []flows.Action{flows.Output{Port: flows.PortFlood}}
	c, err := openflow.Connect(tb.Context(), a, openflow.Options{OnPacketIn: func(in openflow.PacketIn) {
		if err := conn.Load().PacketOut(tb.Context(), openflow.PacketOut{InPort: in.InPort(), Actions: flood, Data: in.Data}); err != nil {
			tb.Error(err)
		}
	}})
	if err != nil {
		tb.Fatal(err)
	}
	conn.Store(c)
	tb.Cleanup(func() { c.Close() })
	return c
}

// BenchmarkPacketIn answers 100 packet-ins that come together; the connection costs nothing.
func BenchmarkPacketIn(b *testing.B) {
	const batch = 100
	a := newAsking(b, batch)
	flooding(b, a)
	b.ReportAllocs()
	for b.Loop() {
		a.ask()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/packet-in")
}

// Answering packet-ins allocates nothing for each; now and then a buffer is new.
func TestPacketInsAllocateNothing(t *testing.T) {
	const batch = 100
	a := newAsking(t, batch)
	flooding(t, a)
	a.ask()
	if n := testing.AllocsPerRun(50, a.ask); n > 1 {
		t.Errorf("%v allocations for %d packet-ins", n, batch)
	}
}

// stubborn is a session with a switch that has done the handshake and reads on only when the
// test does.
func stubborn(t *testing.T) (*openflow.Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	go func() {
		hello, _ := ofp13.AppendHello(nil, 1)
		far.Write(hello)
		for {
			h, _, err := next(far)
			if err != nil {
				return
			}
			switch h.Type {
			case ofp13.TypeFeaturesRequest:
				b, _ := ofp13.AppendFeaturesReply(nil, h.XID, ofp13.Features{DatapathID: 1})
				far.Write(b)
			case ofp13.TypeBarrierRequest:
				b, _ := ofp13.AppendBarrierReply(nil, h.XID)
				far.Write(b)
				return
			}
		}
	}()
	c, err := openflow.Connect(t.Context(), near, openflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, far
}

func next(r io.Reader) (ofp13.Header, []byte, error) {
	b := make([]byte, ofp13.HeaderLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return ofp13.Header{}, nil, err
	}
	h, err := ofp13.ParseHeader(b)
	if err != nil {
		return h, nil, err
	}
	b = append(b, make([]byte, int(h.Length)-len(b))...)
	_, err = io.ReadFull(r, b[ofp13.HeaderLen:])
	return h, b, err
}

// Packet-outs that go out together do not overtake what was sent before them.
func TestPacketOutsKeepTheirPlace(t *testing.T) {
	c, far := stubborn(t)
	const order = "ppapppap"
	sent := make(chan error, 1)
	go func() {
		for i, what := range order {
			var err error
			if what == 'p' {
				err = c.PacketOut(t.Context(), openflow.PacketOut{InPort: 1, Data: []byte{byte(i)}})
			} else {
				err = c.SetAsync(t.Context(), ofp13.AsyncConfig{})
			}
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := <-sent; err != nil { // all are queued before any is read
		t.Fatal(err)
	}
	for i, what := range order {
		h, b, err := next(far)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[rune]ofp13.MsgType{'p': ofp13.TypePacketOut, 'a': ofp13.TypeSetAsync}[what]; h.Type != want {
			t.Fatalf("message %d is %v, want %v", i, h.Type, want)
		}
		if what == 'p' && int(b[len(b)-1]) != i {
			t.Errorf("message %d is packet-out %d", i, b[len(b)-1])
		}
	}
}

// What waits for a switch that does not read is bounded.
func TestPacketOutsWaitForTheSwitch(t *testing.T) {
	c, _ := stubborn(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	data := make([]byte, 60_000)
	for n := 0; ; n++ {
		err := c.PacketOut(ctx, openflow.PacketOut{InPort: 1, Data: data})
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil || n > 20 {
			t.Fatalf("packet-out %d of 60 kB to a switch that reads none: %v", n, err)
		}
	}
	if err := c.PacketOut(t.Context(), openflow.PacketOut{Data: make([]byte, 1<<16)}); err == nil {
		t.Error("a packet-out longer than a message was taken")
	}
}
