package ofp13

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// same fails unless what was decoded is what was encoded.
func same[T any](t *rapid.T, what string, want, got T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%s: decode(encode(x)) is not x:\n%s", what, cmp.Diff(want, got))
	}
}

// The law of the package: Decode(Encode(x)) == x, for every kind of message that
// is both encoded and decoded here.
func TestDecodeUndoesEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		must := must(t)
		xid := rapid.Uint32().Draw(t, "xid")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "what is in dst already")
		enc := func(b []byte, err error) []byte {
			must(b, err)
			if !bytes.HasPrefix(b, prefix) {
				t.Fatal("the encoder touched what was in dst")
			}
			b = b[len(prefix):]
			if h, err := ParseHeader(b); err != nil || int(h.Length) != len(b) || h.XID != xid {
				t.Fatalf("header %+v of %d bytes, %v", h, len(b), err)
			}
			return b
		}

		f := FlowMod{FlowCommand(rapid.IntRange(0, 2).Draw(t, "command")), genFlow(t), rapid.Uint64().Draw(t, "mask")}
		gotF, err := DecodeFlowMod(enc(AppendFlowMod(prefix, xid, f)))
		same(t, "flow-mod", f, gotF, err)

		s := flows.FlowStats{Flow: genFlow(t), Packets: rapid.Uint64().Draw(t, "packets"), Bytes: 9, Duration: rapid.Uint32().Draw(t, "s")}
		_, gotS, err := DecodeFlowStats(must(AppendFlowStats(nil, s)))
		same(t, "flow stats", s, gotS, err)

		g := GroupMod{ModCommand(rapid.IntRange(0, 1).Draw(t, "command")), genGroup(t)}
		gotG, err := DecodeGroupMod(enc(AppendGroupMod(prefix, xid, g)))
		same(t, "group-mod", g, gotG, err)
		gotGD, err := DecodeGroupDesc(must(AppendGroupDesc(nil, g.Group)))
		same(t, "group desc", g.Group, gotGD, err)

		m := MeterMod{ModCommand(rapid.IntRange(0, 1).Draw(t, "command")), genMeter(t)}
		gotM, err := DecodeMeterMod(enc(AppendMeterMod(prefix, xid, m)))
		same(t, "meter-mod", m, gotM, err)
		gotMC, err := DecodeMeterConfig(must(AppendMeterConfig(nil, m.Meter)))
		same(t, "meter config", m.Meter, gotMC, err)

		e := &Error{Type: rapid.Uint16().Draw(t, "type"), Code: rapid.Uint16().Draw(t, "code"), XID: xid,
			Data: rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "data")}
		if e.Type == ErrExperimenter {
			e.Experimenter = ONFExperimenter
		}
		gotE, err := DecodeError(enc(AppendError(prefix, e)))
		same(t, "error", e, gotE, err)

		r := RoleMessage{Role(rapid.IntRange(0, 3).Draw(t, "role")), rapid.Uint64().Draw(t, "generation")}
		gotR, err := DecodeRole(enc(AppendRole(prefix, TypeRoleReply, xid, r)), TypeRoleReply)
		same(t, "role", r, gotR, err)

		fe := Features{rapid.Uint64().Draw(t, "dpid"), 1, 254, 2, rapid.Uint32().Draw(t, "capabilities")}
		gotFe, err := DecodeFeatures(enc(AppendFeaturesReply(prefix, xid, fe)))
		same(t, "features", fe, gotFe, err)

		c := Config{rapid.Uint16().Draw(t, "flags"), rapid.Uint16().Draw(t, "miss send len")}
		gotC, err := DecodeConfig(enc(AppendConfig(prefix, TypeSetConfig, xid, c)), TypeSetConfig)
		same(t, "config", c, gotC, err)

		b := BundleControl{rapid.Uint32().Draw(t, "bundle"), BundleCommand(rapid.IntRange(0, 7).Draw(t, "command")), 3}
		gotB, err := DecodeBundleControl(enc(AppendBundleControl(prefix, xid, b)))
		same(t, "bundle control", b, gotB, err)
		op := flows.Op{Kind: flows.AddFlow, Flow: f.Flow}
		gotBA, err := DecodeBundleAdd(enc(AppendBundleAdd(prefix, xid, b.BundleID, op)))
		same(t, "bundle-add", BundleAdd{b.BundleID, 3, must(AppendOp(nil, xid, op))}, gotBA, err)

		p := PacketIn{Reason: 1, Table: 9, TotalLen: 60, Cookie: 7, Match: genMatch(t), Data: rapid.SliceOfN(rapid.Byte(), 1, 60).Draw(t, "data")}
		gotP, err := DecodePacketIn(enc(AppendPacketIn(prefix, xid, p)))
		same(t, "packet-in", p, gotP, err)

		o := PacketOut{InPort: rapid.Uint32().Draw(t, "in"), Actions: flows.Normalize(&flows.Flow{Apply: genActions(t)}).Apply, Data: p.Data}
		gotO, err := DecodePacketOut(enc(AppendPacketOut(prefix, xid, o)))
		same(t, "packet-out", o, gotO, err)

		st := PortStatus{PortReason(rapid.IntRange(0, 2).Draw(t, "reason")), PortDesc{rapid.Uint32().Draw(t, "number"), [6]byte{2, 3}, "tap0", 1, 4}}
		gotSt, err := DecodePortStatus(enc(AppendPortStatus(prefix, xid, st)))
		same(t, "port status", st, gotSt, err)

		pm := PortMod{rapid.Uint32().Draw(t, "number"), [6]byte{2, 4}, rapid.Uint32().Draw(t, "config"), rapid.Uint32().Draw(t, "mask")}
		gotPM, err := DecodePortMod(enc(AppendPortMod(prefix, xid, pm)))
		same(t, "port-mod", pm, gotPM, err)

		fr := FlowRemoved{2, flows.FlowStats{Flow: &flows.Flow{Match: genMatch(t), Priority: 3, Table: 4, Cookie: 5, IdleTimeout: 6}, Packets: 7, Duration: 8}}
		gotFR, err := DecodeFlowRemoved(enc(AppendFlowRemoved(prefix, xid, fr)))
		same(t, "flow-removed", fr, gotFR, err)
	})
}

func TestAppendFlowModDoesNotAllocate(t *testing.T) {
	f := typicalFlow()
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = must(t)(AppendFlowMod(buf[:0], 1, FlowMod{Flow: f}))
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// typicalFlow has ten match fields and five actions.
func typicalFlow() *flows.Flow {
	u := flows.U
	return &flows.Flow{
		Table: 10, Priority: 100, Cookie: flows.NewCookie(1, 1, 77), Goto: 20,
		Match: flows.Match{}.With(flows.InPort, u(3)).With(flows.Metadata, u(4)).With(flows.Reg0, u(5)).With(flows.TunID, u(1000001)).
			With(flows.EthDst, u(0x020000000001)).With(flows.EthSrc, u(0x020000000002)).With(flows.EthType, u(0x800)).
			With(flows.IPProto, u(6)).WithMask(flows.IPv4Src, u(0x0a010100), u(0xffffff00)).With(flows.TCPDst, u(80)),
		Apply: []flows.Action{
			flows.Set(flows.Reg1, u(9)), flows.SetBits(flows.Reg2, 4, 8, 0x5a), flows.Set(flows.EthDst, u(0x020000000003)),
			flows.DecTTL{}, flows.Output{Port: 7},
		},
	}
}

func BenchmarkAppendFlowMod(b *testing.B) {
	f, buf := typicalFlow(), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendFlowMod(buf[:0], 1, FlowMod{Flow: f})
	}
}

func BenchmarkDecodeFlowStats(b *testing.B) {
	e := must(b)(AppendFlowStats(nil, flows.FlowStats{Flow: typicalFlow()}))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeFlowStats(e); err != nil {
			b.Fatal(err)
		}
	}
}

func TestGroupTooLargeSaysHowManyBucketsFit(t *testing.T) {
	g := &flows.Group{ID: 7}
	for range 1364 {
		g.Buckets = append(g.Buckets, flows.Bucket{Actions: []flows.Action{flows.Output{Port: 1}, flows.Output{Port: 2}}})
	}
	dst := []byte("before")
	if _, err := AppendGroupMod(dst, 1, GroupMod{Group: g}); err != nil {
		t.Errorf("1,364 buckets of 48 bytes fit a message: %v", err)
	}
	// A bundle-add needs another 24 bytes for itself.
	g.Buckets = append(g.Buckets, g.Buckets[0])
	b, err := AppendGroupMod(dst, 1, GroupMod{Group: g})
	if err == nil || !strings.Contains(err.Error(), "1364 of its buckets fit") || string(b) != "before" {
		t.Errorf("1,365 buckets: %v, dst %q", err, b)
	}
}

func TestMultipartReplyIsDividedAndMarked(t *testing.T) {
	var entries [][]byte
	for range 2000 {
		entries = append(entries, must(t)(AppendFlowStats(nil, flows.FlowStats{Flow: typicalFlow()})))
	}
	b := must(t)(AppendMultipartReply(nil, 9, MultipartFlow, entries))
	seen, messages := 0, 0
	for len(b) > 0 {
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		m, err := DecodeMultipart(b[:h.Length], TypeMultipartReply)
		if err != nil {
			t.Fatal(err)
		}
		b = b[h.Length:]
		if m.More != (len(b) > 0) {
			t.Errorf("message %d: more is %v with %d bytes to come", messages, m.More, len(b))
		}
		for _, err := range Entries(m.Body, FlowStatsLen) {
			if err != nil {
				t.Fatal(err)
			}
			seen++
		}
		messages++
	}
	if seen != 2000 || messages < 2 {
		t.Errorf("%d entries in %d messages", seen, messages)
	}
}
