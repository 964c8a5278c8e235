package openflow_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// simulated is a session with sw over an in-memory connection.
func simulated(tb testing.TB, sw *sim.Switch, o openflow.Options) *openflow.Conn {
	tb.Helper()
	ours, theirs := net.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sw.Serve(ctx, theirs) }()
	tb.Cleanup(func() { stop(); <-served })
	c, err := openflow.Connect(tb.Context(), ours, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// op draws an operation from so small a world that operations meet each other,
// and with mistakes in it.
func op(t *rapid.T) flows.Op {
	pick := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(t, name) }
	switch kind := flows.OpKind(1 + pick("kind", 9)); kind {
	case flows.AddGroup, flows.ModifyGroup, flows.DeleteGroup:
		g := &flows.Group{ID: 0x40000000 + uint32(pick("group", 3)), Type: flows.GroupType(pick("type", 3))}
		for range pick("buckets", 3) {
			b := flows.Bucket{WatchPort: flows.PortAny, WatchGroup: flows.GroupAny}
			if g.Type == flows.GroupSelect {
				b.Weight = uint16(1 + pick("weight", 3))
			}
			b.Actions = actions(t, "bucket")
			g.Buckets = append(g.Buckets, b)
		}
		return flows.Op{Kind: kind, Group: g}
	case flows.AddMeter, flows.ModifyMeter, flows.DeleteMeter:
		m := &flows.Meter{ID: uint32(pick("meter", 3)), Pktps: pick("pktps", 2) == 1}
		m.Bands = []flows.MeterBand{{Rate: uint32(1 + pick("rate", 1000)), Burst: uint32(pick("burst", 2) * 50)}}
		return flows.Op{Kind: kind, Meter: m}
	default:
		f := &flows.Flow{
			Table: []uint8{0, 1, 10, 253, 254, 255}[pick("table", 6)], Priority: uint16(pick("priority", 2)),
			Cookie:      flows.NewCookie(1, 1, uint32(pick("owner", 4))),
			IdleTimeout: uint16(pick("idle", 2) * 300), HardTimeout: uint16(pick("hard", 2) * 300),
			ClearActions: pick("clear", 4) == 0, Meter: uint32(max(0, pick("use meter", 6)-3)),
			Goto: []uint8{0, 0, 1, 20, 254, 255}[pick("goto", 6)],
		}
		f.Match = match(t)
		if pick("metadata", 4) == 0 {
			f.Metadata, f.MetadataMask = 0x1234, 0xff00
		}
		f.Apply = actions(t, "apply")
		if pick("write", 4) == 0 {
			f.Write = []flows.Action{flows.Output{Port: 2}}
		}
		return flows.Op{Kind: kind, Flow: f}
	}
}

func match(t *rapid.T) flows.Match {
	u := flows.U
	choices := []flows.Match{
		nil,
		flows.Match{}.With(flows.InPort, u(1)),
		flows.Match{}.With(flows.Reg0, u(5)).WithMask(flows.Reg1, u(0xf0), u(0xf0)),
		flows.Match{}.With(flows.Reg0, u(5)).With(flows.EthType, u(0x800)).WithMask(flows.IPv4Src, u(0x0a000001), u(0xff000000)),
		flows.Match{}.With(flows.IPv4Src, u(1)),
		flows.Match{}.With(flows.EthType, u(0x806)).With(flows.ARPOp, u(1)).With(flows.ARPTPA, u(7)),
		flows.Match{}.With(flows.VLANVID, u(0x1000|10)).With(flows.VLANPCP, u(3)),
		flows.Match{}.With(flows.VLANVID, u(0)),
		flows.Match{}.WithMask(flows.VLANVID, u(0x1000), u(0x1000)),
		flows.Match{}.With(flows.TunID, u(1000001)).With(flows.TunIPv4Src, u(0xc0a8c815)),
		flows.Match{}.WithMask(flows.EthDst, u(1<<40), u(1<<40)),
		flows.Match{}.With(flows.EthType, u(0x800)).With(flows.IPProto, u(6)).With(flows.TCPDst, u(80)).WithMask(flows.TCPFlags, u(2), u(0x12)),
		flows.Match{}.With(flows.EthType, u(0x86dd)).With(flows.IPProto, u(58)).With(flows.ICMPv6Type, u(135)).With(flows.ICMPv6Code, u(0)).With(flows.NDTarget, flows.Value{Hi: 1 << 61, Lo: 9}),
		flows.Match{}.With(flows.UDPDst, u(67)),
		flows.Match{}.With(flows.VLANPCP, u(3)),
		flows.Match{}.WithMask(flows.CTState, u(0x21), u(0x21)).With(flows.EthType, u(0x800)).With(flows.CTZone, u(9)),
		flows.Match{}.With(flows.EthType, u(0x800)).With(flows.IPDSCP, u(46)).With(flows.IPTTL, u(64)),
	}
	return choices[rapid.IntRange(0, len(choices)-1).Draw(t, "match")]
}

func actions(t *rapid.T, name string) []flows.Action {
	u := flows.U
	choices := []flows.Action{
		flows.Output{Port: 1}, flows.Output{Port: 2}, flows.Output{Port: flows.PortInPort}, flows.Output{Port: 0},
		flows.Output{Port: flows.PortAny}, flows.ToController{MaxLen: 0xffff}, flows.ToGroup{ID: 0x40000000}, flows.ToGroup{ID: 0x40000001},
		flows.Set(flows.Reg(2), u(9)), flows.SetBits(flows.Reg(3), 4, 8, 0x5a), flows.Set(flows.TunID, u(1000001)),
		flows.SetField{Field: flows.Reg4, Value: u(0xffff), Mask: u(0xf0f)},
		flows.Set(flows.EthDst, u(0x020000000001)), flows.Set(flows.IPv4Dst, u(3)), flows.Set(flows.ARPOp, u(2)),
		flows.PushVLAN{EtherType: 0x8100}, flows.PopVLAN{}, flows.Set(flows.VLANVID, u(0x1000|20)), flows.DecTTL{},
		flows.Move{Src: flows.Subfield{Field: flows.EthSrc, Bits: 48}, Dst: flows.Subfield{Field: flows.EthDst, Bits: 48}},
		flows.Resubmit{Port: flows.PortInPort, Table: 20},
		flows.OutputReg{Src: flows.Subfield{Field: flows.Reg5, Bits: 16}, MaxLen: 0xffff},
		flows.Set(flows.CTMark, u(3)), flows.SetBits(flows.CTLabel, 32, 64, 77), flows.Set(flows.IPDSCP, u(10)),
	}
	var as []flows.Action
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(choices)-1), 0, 4).Draw(t, name) {
		as = append(as, choices[i])
	}
	return as
}

// last is 1 for what must be at the end of a bundle.
func last(o flows.Op) int {
	if o.Kind == flows.DeleteGroup {
		return 1
	}
	return 0
}

// name is the switch's error in a word.
func name(err error) string {
	if e, ok := errors.AsType[*ofp13.Error](err); ok {
		return e.Name()
	}
	if errors.Is(err, openflow.ErrHazard) {
		return "hazard"
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func TestTheSimulatedSwitchDoesWhatOpenVSwitchDoes(t *testing.T) {
	o := startOVS(t)
	fresh := 0
	all := func(uint32) bool { return true }
	everything := openflow.Options{OwnGroup: all, OwnMeter: all}
	rapid.Check(t, func(rt *rapid.T) {
		fresh++
		o.ofctl(t, "del-flows")
		o.ofctl(t, "del-groups")
		o.ofctl(t, "del-meters")
		sw := sim.New(1)
		ours, theirs := net.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- sw.Serve(ctx, theirs) }()
		defer func() { stop(); <-served }()
		fake, err := openflow.Connect(ctx, ours, everything)
		if err != nil {
			rt.Fatal(err)
		}
		defer fake.Close()
		nc, err := net.Dial("unix", o.mgmt())
		if err != nil {
			rt.Fatal(err)
		}
		real, err := openflow.Connect(ctx, nc, everything)
		if err != nil {
			rt.Fatal(err)
		}
		defer real.Close()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			step := flows.Step{Atomic: rapid.IntRange(0, 3).Draw(rt, "atomic") == 0}
			for range rapid.IntRange(1, 4).Draw(rt, "ops") {
				if o := op(rt); !step.Atomic || o.Meter == nil {
					step.Ops = append(step.Ops, o)
				}
			}
			if step.Atomic { // a hazard otherwise, and refused
				slices.SortStableFunc(step.Ops, func(a, b flows.Op) int { return last(a) - last(b) })
			}
			rerr, ferr := real.Commit(ctx, []flows.Step{step}), fake.Commit(ctx, []flows.Step{step})
			if name(rerr) != name(ferr) {
				rt.Fatalf("Open vSwitch: %v\nsimulated: %v", rerr, ferr)
			}
		}
		rd, err := real.DumpAll(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		fd, err := fake.DumpAll(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		if len(rd.Unreadable)+len(fd.Unreadable) > 0 {
			rt.Fatalf("unreadable: %v %v", rd.Unreadable, fd.Unreadable)
		}
		if !rd.State().Equal(fd.State()) {
			rt.Fatalf("the simulated switch differs: %+v", flows.Diff(rd.State(), fd.State()))
		}
		if !fd.State().Equal(sw.State()) {
			rt.Fatalf("the simulated switch's own state differs from its dump")
		}
	})
	t.Logf("%d sequences", fresh)
}
