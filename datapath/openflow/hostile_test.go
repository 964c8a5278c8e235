package openflow_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// msg is a message with any header.
func msg(version, typ uint8, length uint16, xid uint32, body ...byte) []byte {
	b := []byte{version, typ}
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, length), xid)
	return append(b, body...)
}

func hello13() []byte { return msg(4, 0, 16, 1, 0, 1, 0, 8, 0, 0, 0, 1<<4) }

// script plays a switch: it writes what is given, reads and forgets everything,
// and closes at the end of what is given if told so by hangUp.
func script(t *testing.T, writes ...[]byte) (ours net.Conn, read *recorder, hangUp func()) {
	t.Helper()
	ours, theirs := net.Pipe()
	read = &recorder{done: make(chan struct{})}
	go func() {
		defer close(read.done)
		io.Copy(read, theirs)
	}()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for _, w := range writes {
			if _, err := theirs.Write(w); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { theirs.Close(); <-wrote; <-read.done })
	return ours, read, func() { <-wrote; theirs.Close() }
}

// recorder keeps what was written to it; b may be read when done is closed.
type recorder struct {
	b    []byte
	done chan struct{}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.b = append(r.b, b...)
	return len(b), nil
}

func TestConnectRefusesWhatIsNoSwitch(t *testing.T) {
	for _, c := range []struct {
		name string
		send []byte
		want string
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), `"GET / HT", which is no OpenFlow hello`},
		{"TLS", []byte{0x16, 3, 1, 0, 0xf0, 1, 0, 0, 0xec, 3, 3}, "16 03 01 00 f0 01 00 00, which is no OpenFlow hello"},
		{"zeros", make([]byte, 64), "no OpenFlow hello"},
		{"length 0", msg(4, 0, 0, 1), "length 0"},
		{"length 7", msg(4, 0, 7, 1), "length 7"},
		{"half a hello", msg(4, 0, 16, 1, 0, 1), "closed 10 bytes into OFPT_HELLO of 16 bytes"},
		{"half a header", []byte{4, 0, 0}, "closed 3 bytes into a header"},
		{"65,535 bytes promised", msg(4, 0, 65535, 1, 0, 1), "closed 10 bytes into OFPT_HELLO of 65535 bytes"},
		{"bad element", msg(4, 0, 16, 1, 0, 1, 0, 99, 0, 0, 0, 16), "element 1 of 99 bytes"},
		{"error instead", msg(4, 1, 12, 1, 0, 0, 0, 1), "refused our hello: OFPHFC_EPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc, _, hangUp := script(t, c.send)
			go hangUp()
			conn, err := openflow.Connect(t.Context(), nc, openflow.Options{})
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "pipe") {
				t.Errorf("got %v\nwant %q in it, and the peer's name", err, c.want)
			}
		})
	}
}

func TestHandshakeThatGoesWrongAfterTheHello(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply func(xid uint32) []byte
		want  string
	}{
		{"features of 8 bytes", func(x uint32) []byte { return msg(4, 6, 8, x) }, "OFPT_FEATURES_REPLY: 8 bytes, want at least 32"},
		{"a length of 3", func(x uint32) []byte { return msg(4, 6, 3, x) }, "length 3, shorter than the header"},
		{"another version", func(x uint32) []byte { return msg(1, 6, 8, x) }, "OFPT_FEATURES_REPLY of version 0x01 after OpenFlow 1.3"},
		{"an auxiliary connection", func(x uint32) []byte {
			b, _ := ofp13.AppendFeaturesReply(nil, x, ofp13.Features{Auxiliary: 3})
			return b
		}, "auxiliary connection 3"},
		{"an error", func(x uint32) []byte { return msg(4, 1, 12, x, 0, 1, 0, 5) }, "OFPBRC_EPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				request := make([]byte, 24) // our hello and the features request
				if _, err := io.ReadFull(theirs, request[:16]); err != nil {
					return
				}
				theirs.Write(hello13())
				if _, err := io.ReadFull(theirs, request[16:]); err != nil {
					return
				}
				theirs.Write(c.reply(binary.BigEndian.Uint32(request[20:])))
				io.Copy(io.Discard, theirs)
			}()
			defer func() { theirs.Close(); <-done }()
			_, err := openflow.Connect(t.Context(), ours, openflow.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "openflow: ") != 1 {
				t.Errorf("got %v\nwant %q in it", err, c.want)
			}
		})
	}
}

func TestConnectTellsAnotherVersionWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		send        []byte
	}{
		{"1.0 without a bitmap", "up to OpenFlow 1.0", msg(1, 0, 8, 9)},
		{"1.0 and 1.4", "OpenFlow 1.0, OpenFlow 1.4", msg(5, 0, 16, 9, 0, 1, 0, 8, 0, 0, 0, 1<<1|1<<5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc, read, _ := script(t, c.send)
			_, err := openflow.Connect(t.Context(), nc, openflow.Options{})
			ve, ok := errors.AsType[*openflow.VersionError](err)
			if !ok || ve.Offer.String() != c.offer || !strings.Contains(err.Error(), "OpenFlow13") {
				t.Fatalf("got %v", err)
			}
			<-read.done
			h, err := ofp13.DecodeHello(read.b[:16])
			if err != nil || h.Bitmap != 1<<4 {
				t.Errorf("our hello %+v, %v", h, err)
			}
			e, err := ofp13.DecodeError(read.b[16:])
			if err != nil || e.Name() != "OFPHFC_INCOMPATIBLE" || e.XID != 9 {
				t.Errorf("what the peer was told: %v, %v", e, err)
			}
		})
	}
}

func TestAcceptsAHigherVersionThatOffersOurs(t *testing.T) {
	for _, hello := range []ofp13.Hello{{Version: 6, Bitmap: 1<<6 | 1<<4, BitmapOK: true}, {Version: 6}, {Version: 4}} {
		if !hello.Accepts() {
			t.Errorf("%+v refused", hello)
		}
	}
}

func TestHandshakeDoesNotWaitForEver(t *testing.T) {
	for name, send := range map[string][]byte{"silence": nil, "half a hello": {4, 0, 0, 16, 0}, "hello and silence": hello13()} {
		t.Run(name, func(t *testing.T) {
			nc, _, _ := script(t, send)
			_, err := openflow.Connect(t.Context(), nc, openflow.Options{HandshakeTimeout: 20 * time.Millisecond})
			if err == nil || !strings.Contains(err.Error(), "handshake took longer than 20ms") {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("shutting down"))
	nc, _, _ := script(t)
	if _, err := openflow.Connect(ctx, nc, openflow.Options{}); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("cancelled: %v", err)
	}
}

func TestKeepAliveEndsASessionWithADeadPeer(t *testing.T) {
	sw := sim.New(1)
	stall := make(chan struct{})
	defer close(stall)
	c := simulated(t, sw, openflow.Options{EchoInterval: 10 * time.Millisecond, EchoTimeout: 20 * time.Millisecond})
	sw.Inject(sim.Faults{Stall: stall})
	<-c.Done()
	if !strings.Contains(c.Err().Error(), "does not answer") {
		t.Errorf("got %v", c.Err())
	}
	if err := c.Barrier(t.Context()); err == nil || err != c.Err() {
		t.Errorf("a request after the end: %v", err)
	}
}

func TestAQuietPeerThatAnswersEchoesStaysConnected(t *testing.T) {
	sw := sim.New(1)
	c := simulated(t, sw, openflow.Options{EchoInterval: time.Millisecond, EchoTimeout: 5 * time.Second})
	before := sw.Counts().Messages
	eventually(t, "echo requests", func() bool { return sw.Counts().Messages >= before+5 })
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

// play plays a switch that is honest until the features are known.
func play(t *testing.T, o openflow.Options, answer func(h ofp13.Header, b []byte, w io.Writer) error) *openflow.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		go theirs.Write(hello13())
		for {
			var head [8]byte
			if _, err := io.ReadFull(theirs, head[:]); err != nil {
				return
			}
			h, err := ofp13.ParseHeader(head[:])
			if err != nil {
				return
			}
			b := append(head[:], make([]byte, h.Length-8)...)
			if _, err := io.ReadFull(theirs, b[8:]); err != nil {
				return
			}
			var reply []byte
			switch h.Type {
			case ofp13.TypeFeaturesRequest:
				reply, _ = ofp13.AppendFeaturesReply(nil, h.XID, ofp13.Features{DatapathID: 1, Tables: 254})
			case ofp13.TypeBarrierRequest:
				reply, _ = ofp13.AppendBarrierReply(nil, h.XID)
			case ofp13.TypeMultipartRequest, ofp13.TypeExperimenter:
				if answer(h, b, theirs) != nil {
					return
				}
			}
			if _, err := theirs.Write(reply); err != nil {
				return
			}
		}
	}()
	c, err := openflow.Connect(t.Context(), ours, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); theirs.Close(); <-done })
	return c
}

func TestEndlessRepliesAreBounded(t *testing.T) {
	c := play(t, openflow.Options{MaxReplyBytes: 1 << 20}, func(h ofp13.Header, b []byte, w io.Writer) error {
		more := msg(4, 19, 16, h.XID, b[8], b[9], 0, 1, 0, 0, 0, 0)
		for {
			if _, err := w.Write(more); err != nil {
				return err
			}
		}
	})
	if _, err := c.Ports(t.Context()); err == nil || !strings.Contains(err.Error(), "exceeds 1048576 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestRepliesThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply func(xid uint32) []byte
		want  string
	}{
		{"wrong type", func(x uint32) []byte { return msg(4, 25, 24, x, make([]byte, 16)...) }, "OFPT_ROLE_REPLY where OFPT_MULTIPART_REPLY belongs"},
		{"no room for the type", func(x uint32) []byte { return msg(4, 19, 8, x) }, "8 bytes, want at least 16"},
		{"half a port", func(x uint32) []byte {
			return msg(4, 19, 26, x, append([]byte{0, 13, 0, 0, 0, 0, 0, 0}, make([]byte, 10)...)...)
		}, "10 bytes, want a multiple of 64"},
		{"an error", func(x uint32) []byte { return msg(4, 1, 12, x, 0, 1, 0, 2) }, "OFPBRC_BAD_STAT"},
		{"another xid, then ours", func(x uint32) []byte {
			return append(msg(4, 19, 16, x+1000, make([]byte, 8)...), msg(4, 1, 12, x, 0, 1, 0, 2)...)
		}, "OFPBRC_BAD_STAT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := play(t, openflow.Options{}, func(h ofp13.Header, _ []byte, w io.Writer) error {
				_, err := w.Write(c.reply(h.XID))
				return err
			})
			if _, err := conn.Ports(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err := conn.Barrier(t.Context()); err != nil {
				t.Errorf("the session did not survive: %v", err)
			}
		})
	}
}

func TestACancelledCommitLetsGo(t *testing.T) {
	sw := sim.New(1)
	stall := make(chan struct{})
	defer close(stall)
	c := simulated(t, sw, openflow.Options{})
	sw.Inject(sim.Faults{Stall: stall})
	fs, _ := overlay(50000)
	for _, atomic := range []bool{false, true} {
		ctx, stop := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("took too long"))
		err := c.Commit(ctx, []flows.Step{{Atomic: atomic, Ops: adds(fs)}})
		stop()
		if err == nil || !strings.Contains(err.Error(), "took too long") {
			t.Errorf("atomic=%v: %v", atomic, err)
		}
	}
}

func TestACutConnectionEndsACommit(t *testing.T) {
	sw := sim.New(1)
	c := simulated(t, sw, openflow.Options{})
	sw.Inject(sim.Faults{CutAfter: 100})
	fs, _ := overlay(50000)
	if err := c.Commit(t.Context(), []flows.Step{{Ops: adds(fs)}}); err == nil {
		t.Error("the commit is said to have worked")
	}
	<-c.Done()
}

func TestAnInjectedRefusalIsNamed(t *testing.T) {
	sw := sim.New(1)
	c := simulated(t, sw, openflow.Options{})
	fs, g := overlay(100)
	for _, atomic := range []bool{true, false} {
		sw.Inject(sim.Faults{RejectFlowMod: 42})
		err := c.Commit(t.Context(), []flows.Step{{Atomic: atomic, Ops: append([]flows.Op{{Kind: flows.AddGroup, Group: g}}, adds(fs)...)}})
		ce, ok := errors.AsType[*openflow.CommitError](err)
		if !ok || ce.Op != 42 || !strings.Contains(err.Error(), "OFPFMFC_TABLE_FULL") {
			t.Errorf("atomic=%v: %v", atomic, err)
		}
		if n := sw.State().NumFlows(); atomic && n != 0 {
			t.Errorf("%d flows of a refused bundle", n)
		}
	}
}

func TestAFloodOfPacketInsIsDroppedAndCounted(t *testing.T) {
	sw := sim.New(1)
	release := make(chan struct{})
	c := simulated(t, sw, openflow.Options{EventBuffer: 8, OnPacketIn: func(openflow.PacketIn) { <-release }})
	for range 1000 {
		if err := sw.SendPacketIn(openflow.PacketIn{Data: make([]byte, 60)}); err != nil {
			t.Fatal(err)
		}
	}
	// The callback stands still, and the session does not.
	if err := c.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
	if n := c.DroppedEvents(); n < 900 {
		t.Errorf("%d dropped", n)
	}
	close(release)
}

func TestADemotedMasterIsTold(t *testing.T) {
	sw := sim.New(1)
	told := make(chan openflow.RoleStatus, 1)
	first := simulated(t, sw, openflow.Options{OnRoleStatus: func(r openflow.RoleStatus) { told <- r }})
	second := simulated(t, sw, openflow.Options{})
	for i, c := range []*openflow.Conn{first, second} {
		if _, _, err := c.SetRole(t.Context(), ofp13.RoleMaster, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if r := <-told; r.Role != ofp13.RoleSlave || r.Generation != 1 {
		t.Errorf("told %+v", r)
	}
	fs, _ := overlay(1)
	err := first.Commit(t.Context(), []flows.Step{{Ops: adds(fs)}})
	if err == nil || !strings.Contains(err.Error(), "OFPBRC_IS_SECONDARY") {
		t.Errorf("a slave's flow-mod: %v", err)
	}
}
