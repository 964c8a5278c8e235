package ofp13

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/contiv/libOpenflow/openflow13"
	"pgregory.net/rapid"

	"github.com/ofctl-lab/ofctl-lab/datapath/need"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// libFlowMod builds a flow-mod with libOpenflow where libOpenflow is right: adds
// and modifies, with out_port equal to out_group, and fields and actions whose
// constructors do what their names say. It returns the same flow in our terms.
func libFlowMod(t *rapid.T) (*openflow13.FlowMod, FlowMod) {
	m := openflow13.NewFlowMod()
	f := &flows.Flow{Table: 10, Priority: rapid.Uint16().Draw(t, "priority"), Cookie: flows.Cookie(rapid.Uint64().Draw(t, "cookie"))}
	m.TableId, m.Priority, m.Cookie, m.Xid = f.Table, f.Priority, uint64(f.Cookie), 77
	m.Command = uint8(rapid.SampledFrom([]FlowCommand{FlowAdd, FlowModify, FlowModifyStrict}).Draw(t, "command"))
	mac := func(v uint64) net.HardwareAddr { b := flows.U(v); return appendValue(nil, b, 6) }
	v := rapid.Uint64().Draw(t, "v")
	low := func(n int) uint64 { return v & (1<<n - 1) }
	// The choices are in the canonical order of a match.
	for _, c := range []struct {
		lib *openflow13.MatchField
		f   flows.Field
		v   uint64
	}{
		{openflow13.NewInPortField(uint32(low(32))), flows.InPort, low(32)},
		{openflow13.NewMetadataField(v, nil), flows.Metadata, v},
		{openflow13.NewTunnelIdField(low(32)), flows.TunID, low(32)},
		{openflow13.NewEthDstField(mac(low(48)), nil), flows.EthDst, low(48)},
		{openflow13.NewEthSrcField(mac(low(48)), nil), flows.EthSrc, low(48)},
		{openflow13.NewEthTypeField(0x800), flows.EthType, 0x800},
		{openflow13.NewIpProtoField(6), flows.IPProto, 6},
		{openflow13.NewIpv4SrcField(net.IP(appendValue(nil, flows.U(v), 4)), nil), flows.IPv4Src, low(32)},
		{openflow13.NewIpv4DstField(net.IP(appendValue(nil, flows.U(v), 4)), nil), flows.IPv4Dst, low(32)},
		{openflow13.NewTcpDstField(uint16(low(16))), flows.TCPDst, low(16)},
	} {
		if rapid.Bool().Draw(t, "field") {
			m.Match.AddField(*c.lib)
			f.Match = f.Match.With(c.f, flows.U(c.v))
		}
	}
	apply := openflow13.NewInstrApplyActions()
	reg := &openflow13.MatchField{Class: classNXM1, Field: 1, Length: 4}
	for _, c := range []struct {
		lib openflow13.Action
		a   flows.Action
	}{
		{openflow13.NewActionSetField(*openflow13.NewEthDstField(mac(low(48)), nil)), flows.Set(flows.EthDst, flows.U(low(48)))},
		{openflow13.NewActionSetField(*openflow13.NewTunnelIdField(low(32))), flows.Set(flows.TunID, flows.U(low(32)))},
		{openflow13.NewNXActionRegLoad(openflow13.NewNXRange(4, 11).ToOfsBits(), reg, low(8)), flows.SetBits(flows.Reg1, 4, 8, low(8))},
		{openflow13.NewActionDecNwTtl(), flows.DecTTL{}},
		{openflow13.NewActionPushVlan(0x8100), flows.PushVLAN{EtherType: 0x8100}},
		{openflow13.NewActionPopVlan(), flows.PopVLAN{}},
		{openflow13.NewActionGroup(uint32(low(30))), flows.ToGroup{ID: uint32(low(30))}},
		{openflow13.NewNXActionResubmitTableAction(uint16(low(8)), 20), flows.Resubmit{Port: uint32(low(8)), Table: 20}},
		{&openflow13.ActionOutput{ActionHeader: openflow13.ActionHeader{Type: openflow13.ActionType_Output, Length: 16}, Port: uint32(low(16))}, flows.Output{Port: uint32(low(16))}},
	} {
		if rapid.Bool().Draw(t, "action") {
			if err := apply.AddAction(c.lib, false); err != nil {
				t.Fatal(err)
			}
			f.Apply = append(f.Apply, c.a)
		}
	}
	if len(f.Apply) > 0 {
		m.AddInstruction(apply)
	}
	if rapid.Bool().Draw(t, "goto") {
		m.AddInstruction(openflow13.NewInstrGotoTable(20))
		f.Goto = 20
	}
	return m, FlowMod{Command: FlowCommand(m.Command), Flow: f}
}

func TestFlowModIsByteForByteThatOfLibOpenflow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lib, ours := libFlowMod(t)
		want, err := lib.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got := must(t)(AppendFlowMod(nil, 77, ours))
		if !bytes.Equal(want, got) {
			t.Fatalf("libOpenflow\n%s\nours\n%s", hex.Dump(want), hex.Dump(got))
		}
	})
}

func TestPortModIsByteForByteThatOfLibOpenflow(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 7}
	for _, config := range []uint32{0, PortConfigDown} {
		lib := openflow13.NewPortMod(3)
		lib.Header.Version, lib.Header.Type, lib.Header.Xid, lib.Header.Length = Version, uint8(TypePortMod), 77, 40
		lib.HWAddr, lib.Config, lib.Mask, lib.Advertise = mac[:], config, PortConfigDown, 0
		want, err := lib.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got := must(t)(AppendPortMod(nil, 77, PortMod{3, mac, config, PortConfigDown}))
		if !bytes.Equal(want, got) {
			t.Errorf("libOpenflow\n%s\nours\n%s", hex.Dump(want), hex.Dump(got))
		}
	}
}

// ofPrint is what Open vSwitch reads in a message.
func ofPrint(t *testing.T, b []byte) string {
	t.Helper()
	need.Have(t, need.Programs("deps", "ovs-ofctl"))
	out, err := exec.Command("ovs-ofctl", "ofp-print", hex.EncodeToString(b)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestOpenVSwitchReadsWhatWeWrite(t *testing.T) {
	must := must(t)
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{must(AppendHello(nil, 1)), "version bitmap: 0x04"},
		{must(AppendEchoRequest(nil, 1, []byte("abc"))), "OFPT_ECHO_REQUEST (OF1.3) (xid=0x1): 3 bytes of payload"},
		{must(AppendBarrierRequest(nil, 1)), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x1):"},
		{must(AppendFeaturesRequest(nil, 1)), "OFPT_FEATURES_REQUEST (OF1.3) (xid=0x1):"},
		{must(AppendGetConfigRequest(nil, 1)), "OFPT_GET_CONFIG_REQUEST (OF1.3) (xid=0x1):"},
		{must(AppendConfig(nil, TypeSetConfig, 1, Config{0, 0xffff})), "frags=normal miss_send_len=65535"},
		{must(AppendRole(nil, TypeRoleRequest, 1, RoleMessage{RoleMaster, 9})), "role=primary generation_id=9"},
		{must(AppendFeaturesReply(nil, 1, Features{DatapathID: 0xaa, Tables: 254})), "dpid:00000000000000aa"},
		{must(AppendGroupMod(nil, 1, GroupMod{ModAdd, &flows.Group{ID: 5, Buckets: []flows.Bucket{{
			WatchPort: flows.PortAny, WatchGroup: flows.GroupAny, Actions: []flows.Action{flows.Output{Port: 3}}}}}})),
			"ADD group_id=5,type=all,bucket=actions=output:3"},
		{must(AppendMeterMod(nil, 1, MeterMod{ModAdd, &flows.Meter{ID: 5, Bands: []flows.MeterBand{{Rate: 1000, Burst: 100}}}})),
			"ADD meter=5 kbps burst bands=\ntype=drop rate=1000 burst_size=100"},
		{must(AppendMeterConfigRequest(nil, 1, AllMeters)), "meter=all"},
		{must(AppendMultipartRequest(nil, 1, MultipartGroupDesc)), "OFPST_GROUP_DESC request (OF1.3)"},
		{must(AppendMultipartRequest(nil, 1, MultipartPortDesc)), "OFPST_PORT_DESC request (OF1.3)"},
		{must(AppendFlowStatsRequest(nil, 1, MultipartFlow, FlowFilter{AllTables, 0x0fc7 << 48, 0xffff << 48})),
			"OFPST_FLOW request (OF1.3) (xid=0x1):"},
		{must(AppendPacketOut(nil, 1, PacketOut{InPort: flows.PortController, Actions: []flows.Action{flows.Output{Port: 3}}, Data: make([]byte, 60)})),
			"in_port=CONTROLLER actions=output:3 data_len=60"},
		{must(AppendBundleControl(nil, 1, BundleControl{7, BundleOpen, BundleAtomic | BundleOrdered})), "OPEN_REQUEST flags=atomic ordered"},
		{must(AppendBundleAdd(nil, 1, 7, flows.Op{Kind: flows.DeleteFlow, Flow: typicalFlow()})), "DEL_STRICT"},
		{must(AppendPortStatus(nil, 1, PortStatus{PortDelete, PortDesc{Number: 3, Name: "tap0"}})), "DEL: 3(tap0)"},
		{must(AppendPortMod(nil, 1, PortMod{3, [6]byte{2, 0, 0, 0, 0, 7}, PortConfigDown, PortConfigDown})),
			"port: 3: addr:02:00:00:00:00:07\n     config: PORT_DOWN\n     mask:   PORT_DOWN"},
	} {
		if got := ofPrint(t, c.b); !strings.Contains(got, c.want) {
			t.Errorf("Open vSwitch reads %q, want %q in it", got, c.want)
		}
	}
}

func TestErrorNamesAreThoseOfOpenVSwitch(t *testing.T) {
	check := func(e *Error) {
		printed := ofPrint(t, must(t)(AppendError(nil, e)))
		if known := !strings.Contains(printed, "decode error"); known != strings.Contains(printed, e.Name()) {
			t.Errorf("we say %s, Open vSwitch: %s", e.Name(), printed)
		}
	}
	for typ := range uint16(14) {
		for code := range uint16(len(errorNames(typ)) + 1) {
			check(&Error{Type: typ, Code: code})
		}
	}
	for code := range uint16(bundleErrorsCount + 1) {
		check(&Error{Type: ErrExperimenter, Experimenter: ONFExperimenter, Code: bundleErrorBase + code})
	}
	for _, code := range []uint16{2, 3, 4, 5, 10, 11, 12, 13, 15, 37, 42, 43} {
		check(&Error{Type: ErrExperimenter, Experimenter: NiciraExperimenter, Code: code})
	}
	if got := (&Error{Type: 99, Code: 1}).Name(); got != fmt.Sprintf("error type %d code %d", 99, 1) {
		t.Error(got)
	}
}
