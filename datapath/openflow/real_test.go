package openflow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// overlay is n flows of the shapes the pipeline has, and a group they use.
func overlay(n int) (fs []*flows.Flow, g *flows.Group) {
	g = &flows.Group{ID: flows.GroupMin + 1, Buckets: []flows.Bucket{
		{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{
			flows.Set(flows.TunID, flows.U(1000001)), flows.Set(flows.TunIPv4Dst, flows.U(0xc0a8c815)), flows.Output{Port: 7},
		}},
		{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.Output{Port: 3}}},
	}}
	for i := range n {
		f := &flows.Flow{Table: uint8(i%5) * 10, Priority: 100, Cookie: flows.NewCookie(1, 1, uint32(i))}
		id := flows.U(uint64(i + 1))
		switch i % 5 {
		case 0:
			f.Match = flows.Match{}.With(flows.TunID, id).With(flows.InPort, flows.U(7))
			f.Apply = []flows.Action{flows.Set(flows.Reg(0), id), flows.SetBits(flows.Reg(1), 0, 8, 7)}
			f.Goto = 10
		case 1:
			f.Match = flows.Match{}.With(flows.Reg(0), id).With(flows.EthSrc, id).
				With(flows.EthType, flows.U(0x800)).WithMask(flows.IPv4Src, flows.U(0x0a010100), flows.U(0xffffff00))
			f.Goto = 20
		case 2:
			f.Match = flows.Match{}.With(flows.Reg(0), id).With(flows.EthType, flows.U(0x806)).
				With(flows.ARPOp, flows.U(1)).With(flows.ARPTPA, id)
			f.Apply = []flows.Action{
				flows.Move{Src: flows.Subfield{Field: flows.EthSrc, Bits: 48}, Dst: flows.Subfield{Field: flows.EthDst, Bits: 48}},
				flows.Set(flows.EthSrc, id), flows.Set(flows.ARPOp, flows.U(2)), flows.Output{Port: flows.PortInPort},
			}
		case 3:
			f.Match = flows.Match{}.With(flows.Reg(0), id).
				WithMask(flows.EthDst, flows.U(1<<40), flows.U(1<<40))
			f.Apply = []flows.Action{flows.ToGroup{ID: g.ID}}
		case 4:
			f.Match = flows.Match{}.With(flows.Reg(0), id).With(flows.VLANVID, flows.U(0x1000|uint64(i%4000+1)))
			f.Apply = []flows.Action{flows.PopVLAN{}, flows.PushVLAN{EtherType: 0x8100},
				flows.Set(flows.VLANVID, flows.U(0x1000|10)), flows.Output{Port: 3}}
		}
		fs = append(fs, f)
	}
	return fs, g
}

func adds(fs []*flows.Flow) []flows.Op {
	ops := make([]flows.Op, len(fs))
	for i, f := range fs {
		ops[i] = flows.Op{Kind: flows.AddFlow, Flow: f}
	}
	return ops
}

func TestSessionWithOpenVSwitch(t *testing.T) {
	o := startOVS(t)
	c := o.connect(t, openflow.Options{})
	ctx := t.Context()
	if c.DatapathID() != 0xaa {
		t.Errorf("datapath id %#x, want 0xaa", c.DatapathID())
	}
	o.ofctl(t, "add-flow", "table=3,cookie=0x1234,priority=5,ip actions=conjunction(1,1/2)")
	fs, g := overlay(1000)
	want := flows.Flat(&flows.Part{Flows: fs, Groups: []*flows.Group{g}, Meters: []*flows.Meter{{ID: flows.MeterMin + 5, Bands: []flows.MeterBand{{Rate: 1000, Burst: 100}}}}})
	for _, atomic := range []bool{false, true} {
		t.Run(fmt.Sprintf("atomic=%v", atomic), func(t *testing.T) {
			meters := []flows.Op{{Kind: flows.AddMeter, Meter: &flows.Meter{ID: flows.MeterMin + 5, Bands: []flows.MeterBand{{Rate: 1000, Burst: 100}}}}}
			ops := append([]flows.Op{{Kind: flows.AddGroup, Group: g}}, adds(fs)...)
			if err := c.Commit(ctx, []flows.Step{{Ops: meters}, {Atomic: atomic, Ops: ops}}); err != nil {
				t.Fatal(err)
			}
			d, err := c.Dump(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if delta := flows.Diff(d.State(), want); !delta.Empty() {
				t.Fatalf("the switch holds something else: %+v", delta)
			}
			if d.ForeignFlows != 1 || len(d.Unreadable) != 0 {
				t.Errorf("%d foreign flows, want 1; unreadable: %v", d.ForeignFlows, d.Unreadable)
			}
			all, err := c.DumpAll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(all.Unreadable) != 1 || all.Unreadable[0].Cookie != 0x1234 || len(all.Flows) != len(fs) {
				t.Errorf("dump of all: %d flows, unreadable %v", len(all.Flows), all.Unreadable)
			}
			var del []flows.Op
			for _, f := range fs {
				del = append(del, flows.Op{Kind: flows.DeleteFlow, Flow: f})
			}
			del = append(del, flows.Op{Kind: flows.DeleteGroup, Group: g})
			if err := c.Commit(ctx, []flows.Step{{Atomic: atomic, Ops: del}, {Ops: []flows.Op{{Kind: flows.DeleteMeter, Meter: meters[0].Meter}}}}); err != nil {
				t.Fatal(err)
			}
			if d, err = c.Dump(ctx); err != nil || len(d.Flows)+len(d.Groups)+len(d.Meters) != 0 {
				t.Errorf("after deletion: %+v, %v", d, err)
			}
		})
	}
}

func TestCommitNamesTheFlowTheSwitchRefused(t *testing.T) {
	o := startOVS(t)
	c := o.connect(t, openflow.Options{})
	for _, atomic := range []bool{false, true} {
		fs, g := overlay(500)
		bad := *fs[300]
		bad.Match = flows.Match{}.With(flows.IPv4Dst, flows.U(1)) // no eth_type
		fs[300] = &bad
		err := c.Commit(t.Context(), []flows.Step{
			{Ops: []flows.Op{{Kind: flows.AddFlow, Flow: fs[0]}}},
			{Atomic: atomic, Ops: append([]flows.Op{{Kind: flows.AddGroup, Group: g}}, adds(fs)...)},
		})
		ce, ok := errors.AsType[*openflow.CommitError](err)
		if !ok || ce.Step != 1 || ce.Op != 301 || ce.Atomic != atomic || !errors.Is(err, &ofp13.Error{Type: ofp13.ErrBadMatch, Code: 9}) {
			t.Fatalf("atomic=%v: got %v", atomic, err)
		}
		if !strings.Contains(err.Error(), "OFPBMC_BAD_PREREQ") || !strings.Contains(err.Error(), "add flow") {
			t.Errorf("the error does not say what is wrong: %v", err)
		}
		d, err := c.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if atomic && (len(d.Flows) != 1 || len(d.Groups) != 0) {
			t.Errorf("of a refused bundle %d flows and %d groups landed", len(d.Flows)-1, len(d.Groups))
		}
		o.ofctl(t, "del-flows")
		o.ofctl(t, "del-groups")
	}
}

func TestBundleThatFailsAtCommit(t *testing.T) {
	o := startOVS(t)
	c := o.connect(t, openflow.Options{})
	fs, _ := overlay(10) // without the group that flows 3 and 8 use
	err := c.Commit(t.Context(), []flows.Step{{Atomic: true, Ops: adds(fs)}})
	ce, ok := errors.AsType[*openflow.CommitError](err)
	if !ok || ce.Op != 3 || !strings.Contains(err.Error(), "OFPBAC_BAD_OUT_GROUP") {
		t.Fatalf("got %v", err)
	}
	if d, err := c.Dump(t.Context()); err != nil || len(d.Flows) != 0 {
		t.Errorf("%d flows landed, %v", len(d.Flows), err)
	}
}

func TestPortsRolesAndPortStatus(t *testing.T) {
	o := startOVS(t)
	var added, deleted atomic.Uint32
	c := o.accept(t, openflow.Options{OnPortStatus: func(s openflow.PortStatus) {
		switch {
		case s.Reason == ofp13.PortAdd && s.Port.Name == "p1":
			added.Store(s.Port.Number)
		case s.Reason == ofp13.PortDelete && s.Port.Name == "p1":
			deleted.Store(s.Port.Number)
		}
	}})
	o.vsctl(t, "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=41")
	eventually(t, "port status of the new port", func() bool { return added.Load() == 41 })
	ps, err := c.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 2 || ps[0].Name != "p1" && ps[1].Name != "p1" {
		t.Errorf("ports %+v", ps)
	}
	portGoesDownAndUp(t, c, ps[slices.IndexFunc(ps, func(p openflow.PortDesc) bool { return p.Name == "p1" })])
	o.vsctl(t, "del-port", "br0", "p1")
	eventually(t, "port status of the deleted port", func() bool { return deleted.Load() == 41 })

	if r, gen, err := c.SetRole(t.Context(), ofp13.RoleMaster, 7); err != nil || r != ofp13.RoleMaster || gen != 7 {
		t.Errorf("role %v, %d, %v", r, gen, err)
	}
	if _, _, err := c.SetRole(t.Context(), ofp13.RoleMaster, 6); !errors.Is(err, &ofp13.Error{Type: ofp13.ErrRoleRequestFailed}) {
		t.Errorf("a stale generation: %v", err)
	}
	if err := c.Echo(t.Context()); err != nil {
		t.Error(err)
	}
	d, err := c.Describe(t.Context())
	if err != nil || d.Hardware != "Open vSwitch" {
		t.Errorf("description %+v, %v", d, err)
	}
}

// portGoesDownAndUp takes a port down and up again, and is refused with another's address.
func portGoesDownAndUp(t *testing.T, c *openflow.Conn, p openflow.PortDesc) {
	t.Helper()
	for _, down := range []bool{true, true, false} {
		if err := c.SetPortDown(t.Context(), p, down); err != nil {
			t.Fatal(err)
		}
		ps, err := c.Ports(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range ps {
			if q.Number == p.Number && (openflow.IsDown(q) != down || down && openflow.HasLink(q)) {
				t.Errorf("asked to be down: %v; it is %+v", down, q)
			}
		}
	}
	p.MAC[5]++
	if err := c.SetPortDown(t.Context(), p, true); !errors.Is(err, &ofp13.Error{Type: ofp13.ErrPortModFailed, Code: 1}) {
		t.Errorf("with another's address: %v", err)
	}
}

func TestPacketOutComesBackAsPacketIn(t *testing.T) {
	o := startOVS(t)
	got := make(chan openflow.PacketIn, 1)
	c := o.accept(t, openflow.Options{OnPacketIn: func(p openflow.PacketIn) {
		p.Match, p.Data = slices.Clone(p.Match), slices.Clone(p.Data)
		select {
		case got <- p:
		default:
		}
	}})
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, 50)...)
	err := c.Commit(t.Context(), []flows.Step{{Ops: []flows.Op{{Kind: flows.AddFlow, Flow: &flows.Flow{
		Table: 0, Cookie: flows.NewCookie(3, 1, 9), Apply: []flows.Action{flows.Set(flows.Reg(1), flows.U(5)), flows.ToController{MaxLen: 0xffff}},
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	err = c.PacketOut(t.Context(), openflow.PacketOut{InPort: flows.PortLocal, Actions: []flows.Action{flows.Output{Port: flows.PortTable}}, Data: frame})
	if err != nil {
		t.Fatal(err)
	}
	p := <-got
	if p.InPort() != flows.PortLocal || p.Cookie != flows.NewCookie(3, 1, 9) || string(p.Data) != string(frame) {
		t.Errorf("got %+v", p)
	}
}

func TestMeterLimitsCopiesAndNotFrames(t *testing.T) {
	o := startOVS(t)
	var copies atomic.Int64
	first := make(chan flows.Match, 1)
	c := o.accept(t, openflow.Options{OnPacketIn: func(p openflow.PacketIn) {
		if copies.Add(1) == 1 {
			first <- slices.Clone(p.Match)
		}
		if len(p.Data) < 14 { // Open vSwitch 3.1 sends all of it, whatever the action says
			t.Errorf("%d bytes of the frame came, want 14 at least", len(p.Data))
		}
	}})
	meter := &flows.Meter{ID: flows.MeterMin, Pktps: true, Bands: []flows.MeterBand{{Rate: 1, Burst: 1}}}
	metered := &flows.Flow{Table: 1, Cookie: flows.NewCookie(3, 1, 9), Apply: []flows.Action{flows.ToController{MaxLen: 14, Meter: meter.ID}}, Goto: 2}
	after := &flows.Flow{Table: 2, Cookie: flows.NewCookie(3, 1, 10)}
	marks := &flows.Flow{Cookie: flows.NewCookie(3, 1, 8), Apply: []flows.Action{flows.Set(flows.Reg0, flows.U(7))}, Goto: 1}
	steps := []flows.Step{
		{Ops: []flows.Op{{Kind: flows.AddMeter, Meter: meter}}},
		{Ops: []flows.Op{{Kind: flows.AddFlow, Flow: after}, {Kind: flows.AddFlow, Flow: metered}, {Kind: flows.AddFlow, Flow: marks}}},
	}
	if err := c.Commit(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	const frames = 300
	frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5}, make([]byte, 50)...)
	for range frames {
		err := c.PacketOut(t.Context(), openflow.PacketOut{InPort: flows.PortLocal, Actions: []flows.Action{flows.Output{Port: flows.PortTable}}, Data: frame})
		if err != nil {
			t.Fatal(err)
		}
	}
	if m, want := <-first, (flows.Match{}).With(flows.InPort, flows.U(uint64(flows.PortLocal))).With(flows.Reg0, flows.U(7)); !slices.Equal(m, want) {
		t.Errorf("a copy came with %v, want in_port and the register: %v", m, want)
	}
	d, err := c.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := flows.Flat(&flows.Part{Flows: []*flows.Flow{metered, after, marks}, Meters: []*flows.Meter{meter}}); !d.State().Equal(want) {
		t.Errorf("the switch holds %v, want what was sent", d.Flows)
	}
	for _, s := range d.Flows {
		if s.Packets != frames {
			t.Errorf("%s was not passed by %d frames", s, frames)
		}
	}
	// One a second, so a machine has to stand still for minutes to send half.
	if n := copies.Load(); n > frames/2 {
		t.Errorf("%d copies of %d frames came", n, frames)
	}
}
