package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// controller is a scripted one: it says hello, asks for features and does what the test says
// with every other message.
func controller(t *testing.T, each func(nc net.Conn, b []byte) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			go script(nc, each)
		}
	}()
	return l.Addr().String()
}

var errHangUp = errors.New("hang up")

func script(nc net.Conn, each func(nc net.Conn, b []byte) error) {
	defer nc.Close()
	if _, err := nc.Write([]byte{4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 8, 0, 0, 0, 2}); err != nil {
		return
	}
	for {
		b, err := readMessage(nc)
		if err != nil || each(nc, b) != nil {
			return
		}
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	b := make([]byte, headerLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	b = append(b, make([]byte, int(binary.BigEndian.Uint16(b[2:]))-headerLen)...)
	_, err := io.ReadFull(r, b[headerLen:])
	return b, err
}

// flood answers each packet-in.
func flood(nc net.Conn, b []byte) error {
	if b[1] != typePacketIn {
		return nil
	}
	_, err := nc.Write(answerTo(b, binary.BigEndian.Uint32(b[32:]), portFlood))
	return err
}

func TestLoad(t *testing.T) {
	o := Options{Switches: 3, InFlight: 5, LossTimeout: 30 * time.Second}
	f, err := Dial(t.Context(), "tcp", controller(t, flood), o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Load()
	r := &Report{}
	for r.Answers == 0 { // one is enough, however slow the machine
		if r, err = f.Window(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if r.Spread != r.Answers || r.Wrong+r.Unsolicited+r.Lost != 0 {
		t.Errorf("%+v, want flooded answers and nothing else", r.Counters)
	}
	if n := r.Latency.TotalCount(); uint64(n) != r.Answers || r.Latency.Min() <= 0 {
		t.Errorf("%d latencies of at least %d ns for %d answers", n, r.Latency.Min(), r.Answers)
	}
	// What is sent and what is answered differ by what was in flight at the ends.
	if diff := int64(r.PacketIns) - int64(r.Answers); diff < -15 || diff > 15 {
		t.Errorf("%d packet-ins and %d answers with 15 in flight", r.PacketIns, r.Answers)
	}
	if r.Rate() <= 0 {
		t.Errorf("rate %v", r.Rate())
	}
}

// Before Load no more than the first packet-in is sent, so that all switches begin together.
func TestNoLoadBeforeLoad(t *testing.T) {
	f, err := Dial(t.Context(), "tcp", controller(t, flood), Options{Switches: 2, InFlight: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := f.Window(t.Context(), 10*time.Millisecond)
	if err != nil || r.PacketIns != 0 {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestFramesAreValid(t *testing.T) {
	frames := make(chan []byte, 1)
	addr := controller(t, func(nc net.Conn, b []byte) error {
		if b[1] == typePacketIn {
			in, err := ofp13.DecodePacketIn(b)
			if err != nil || in.InPort() == 0 || int(in.TotalLen) != len(in.Data) {
				t.Errorf("packet-in %+v: %v", in, err)
			}
			select {
			case frames <- in.Data:
			default:
			}
		}
		return flood(nc, b)
	})
	f, err := Dial(t.Context(), "tcp", addr, Options{InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := gopacket.NewPacket(<-frames, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok || p.Layer(layers.LayerTypeUDP) == nil {
		t.Fatalf("no UDP in IPv4: %v", p)
	}
	if checksum(ip.Contents) != 0 {
		t.Errorf("IPv4 checksum %04x is wrong", ip.Checksum)
	}
}

func TestControllerLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		last []byte
		want string
	}{
		"between messages": {nil, "closed the connection"},
		"within a message": {[]byte{4, 13, 0, 100, 0}, "closed the connection within a message"},
		"wrong version":    {[]byte{6, 2, 0, 8, 0, 0, 0, 0}, "version 0x06"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			addr := controller(t, func(nc net.Conn, b []byte) error {
				if n++; n < 20 {
					return flood(nc, b)
				}
				if _, err := nc.Write(c.last); err != nil {
					return err
				}
				// An orderly end, with everything read: a reset would overtake what was written.
				if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
					return err
				}
				_, err := io.Copy(io.Discard, nc)
				return errors.Join(err, errHangUp)
			})
			f, err := Dial(t.Context(), "tcp", addr, Options{InFlight: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Load()
			_, err = f.Window(t.Context(), time.Minute)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "switch 1 of 1") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// A controller that does not serve a switch is told apart from one that is slow to.
func TestNotServed(t *testing.T) {
	for name, c := range map[string]struct {
		greeting []byte
		want     string
	}{
		"silent":                {nil, "it has sent no hello"},
		"no features asked":     {[]byte{4, 0, 0, 8, 0, 0, 0, 1}, "it has not asked for the features"},
		"no packet-in answered": {[]byte{4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 8, 0, 0, 0, 2}, "it has answered no packet-in"},
		"OpenFlow 1.0":          {[]byte{1, 0, 0, 8, 0, 0, 0, 1}, "offers up to OpenFlow 1.0"},
		"refusal":               {[]byte{4, 1, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0}, "refused the hello"},
		"no OpenFlow":           {[]byte("SSH-2.0-OpenSSH_9.2p1 \r\n" + strings.Repeat(" ", 1<<16)), "began with something else"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				nc, err := l.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				nc.Write(c.greeting)
				io.Copy(io.Discard, nc)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			f, err := Dial(ctx, "tcp", l.Addr().String(), Options{InFlight: 1})
			if err == nil {
				f.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v", err)
			}
			l.Close()
			<-done
		})
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{
		{Switches: -1}, {InFlight: MaxInFlight + 1}, {Ports: 1}, {Hosts: 9}, {Hosts: 1 << 17},
		{LossTimeout: time.Hour}, {Versions: []uint8{1}}, {Versions: []uint8{4, 77}}, {Versions: []uint8{}},
	} {
		if f, err := Dial(t.Context(), "tcp", "127.0.0.1:1", o); err == nil || strings.Contains(err.Error(), "connect") {
			if f != nil {
				f.Close()
			}
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Our own session takes a switch of the fleet for a switch, in all that it asks.
func TestSwitchesAreSwitches(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled := make(chan error, 1)
	go func() {
		f, err := Dial(t.Context(), "tcp", l.Addr().String(), Options{Versions: []uint8{1, 4}, Ports: 2})
		if err == nil {
			<-f.ctx.Done()
			f.Close()
		}
		dialled <- err
	}()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := openflow.Connect(t.Context(), nc, openflow.Options{OnError: func(e *ofp13.Error) { t.Error(e) }})
	if err != nil {
		t.Fatal(err)
	}
	if c.DatapathID() != 1 || c.Tables() != tables {
		t.Errorf("datapath %d with %d tables", c.DatapathID(), c.Tables())
	}
	if ps, err := c.Ports(t.Context()); err != nil || len(ps) != 2 || ps[0].Number != 1 || ps[1].Name != "p2" {
		t.Errorf("ports %+v: %v", ps, err)
	}
	if d, err := c.Dump(t.Context()); err != nil || len(d.Flows) != 0 {
		t.Errorf("dump %+v: %v", d, err)
	}
	if r, g, err := c.SetRole(t.Context(), ofp13.RoleMaster, 5); err != nil || r != ofp13.RoleMaster || g != 5 {
		t.Errorf("role %v, generation %d: %v", r, g, err)
	}
	if err := c.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

// Requests that other controllers make, and what a switch makes of nonsense.
func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		request []byte
		reply   ofp13.MsgType
		length  int
	}{
		"get config":      {[]byte{4, 7, 0, 8, 0, 0, 0, 9}, ofp13.TypeGetConfigReply, 12},
		"get async":       {[]byte{4, 26, 0, 8, 0, 0, 0, 9}, ofp13.TypeGetAsyncReply, 32},
		"queues":          {[]byte{4, 22, 0, 16, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0}, ofp13.TypeQueueGetConfigReply, 16},
		"description":     {request(0), ofp13.TypeMultipartReply, 16 + 1056},
		"table stats":     {request(3), ofp13.TypeMultipartReply, 16 + 24*tables},
		"port stats":      {request(4), ofp13.TypeMultipartReply, 16 + 4*112},
		"group features":  {request(8), ofp13.TypeMultipartReply, 16 + 40},
		"meter features":  {request(11), ofp13.TypeMultipartReply, 16 + 16},
		"table features":  {request(12), ofp13.TypeMultipartReply, 16},
		"unknown request": {request(99), ofp13.TypeError, 12 + 16},
		"experimenter":    {[]byte{4, 4, 0, 16, 0, 0, 0, 9, 0, 0, 35, 32, 0, 0, 0, 1}, ofp13.TypeError, 12 + 16},
		"unknown type":    {[]byte{4, 99, 0, 8, 0, 0, 0, 9}, ofp13.TypeError, 12 + 8},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := loaded(t, 1)
			feed(t, s, c.request)
			h, err := ofp13.ParseHeader(s.out)
			if err != nil {
				t.Fatal(err)
			}
			if h.Type != c.reply || h.XID != 9 || int(h.Length) != c.length || len(s.out) != c.length {
				t.Errorf("%v of %d bytes, xid %d, want %v of %d bytes and xid 9", h.Type, len(s.out), h.XID, c.reply, c.length)
			}
		})
	}
}

// request is a multipart request without a body.
func request(kind byte) []byte {
	return []byte{4, 18, 0, 16, 0, 0, 0, 9, 0, kind, 0, 0, 0, 0, 0, 0}
}

// A controller may be the one that connects.
func TestAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		script(nc, flood)
	}()
	f, err := Accept(t.Context(), l, Options{InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	<-done
}

// Twenty simulated switches, served by our sessions.
func TestSims(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const n = 20
	sims := DialSims(t.Context(), "tcp", l.Addr().String(), n)
	seen := map[uint64]bool{}
	for range n {
		nc, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c, err := openflow.Connect(t.Context(), nc, openflow.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		seen[c.DatapathID()] = true
	}
	if len(seen) != n || sims.Err() != nil {
		t.Errorf("%d switches: %v", len(seen), sims.Err())
	}
	sims.Close()
	if sims.Err() != nil {
		t.Errorf("closed, not failed: %v", sims.Err())
	}
}
