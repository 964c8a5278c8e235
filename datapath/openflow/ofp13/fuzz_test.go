package ofp13

import (
	"net/netip"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// FuzzDecode feeds any bytes to every decoder. None may panic, and what is
// accepted as a flow can be encoded again.
func FuzzDecode(f *testing.F) {
	must := must(f)
	group := &flows.Group{ID: 1, Buckets: []flows.Bucket{{Actions: typicalFlow().Apply}}}
	meter := &flows.Meter{ID: 1, Bands: []flows.MeterBand{{Rate: 1, Burst: 1}}}
	stats := must(AppendFlowStats(nil, flows.FlowStats{Flow: typicalFlow()}))
	for _, b := range [][]byte{
		{}, {4, 0, 0, 0, 0, 0, 0, 0}, {4, 0, 0, 7, 0, 0, 0, 0}, {4, 19, 0xff, 0xff, 0, 0, 0, 0},
		must(AppendHello(nil, 1)),
		must(AppendFlowMod(nil, 1, FlowMod{Flow: typicalFlow()})),
		must(AppendFlowMod(nil, 1, FlowMod{Flow: &flows.Flow{Apply: []flows.Action{flows.ToController{MaxLen: 14, Meter: 0x4001}}}})),
		must(AppendFlowMod(nil, 1, FlowMod{Flow: &flows.Flow{Apply: []flows.Action{
			flows.NewClone(flows.Push{Src: flows.Subfield{Field: flows.Reg0, Bits: 4}}, flows.Exit{}), flows.Note{Data: "abcdef"},
			flows.ToController{MaxLen: 14, UserData: "ab", Pause: true, Reason: flows.ReasonGroup}, flows.DecTTL{IDs: "\x00\x01"},
			flows.CT{Commit: true, NAT: flows.NAT{Kind: flows.NATSource, Min: netip.MustParseAddr("10.0.0.1"), PortMin: 5}},
		}}})),
		must(AppendGroupMod(nil, 1, GroupMod{Group: group})),
		must(AppendMeterMod(nil, 1, MeterMod{Meter: meter})),
		must(AppendBundleAdd(nil, 1, 2, flows.Op{Kind: flows.AddFlow, Flow: typicalFlow()})),
		must(AppendBundleControl(nil, 1, BundleControl{1, 2, 3})),
		must(AppendPacketIn(nil, 1, PacketIn{Match: typicalFlow().Match, Data: []byte{1, 2}})),
		must(AppendPacketOut(nil, 1, PacketOut{Actions: typicalFlow().Apply, Data: []byte{1, 2}})),
		must(AppendPortStatus(nil, 1, PortStatus{})),
		must(AppendPortMod(nil, 1, PortMod{Number: 3, Config: PortConfigDown, Mask: PortConfigDown})),
		must(AppendFlowRemoved(nil, 1, FlowRemoved{FlowStats: flows.FlowStats{Flow: typicalFlow()}})),
		must(AppendRoleStatus(nil, 1, RoleStatus{})),
		must(AppendError(nil, &Error{Type: ErrExperimenter, Experimenter: ONFExperimenter, Code: 2304})),
		must(AppendMultipartReply(nil, 1, MultipartFlow, [][]byte{stats, stats})),
		must(AppendMultipartReply(nil, 1, MultipartGroupDesc, [][]byte{must(AppendGroupDesc(nil, group))})),
		must(AppendMultipartReply(nil, 1, MultipartMeterConfig, [][]byte{must(AppendMeterConfig(nil, meter))})),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseHeader(b)
		DecodeHello(b)
		if e, err := DecodeError(b); err == nil {
			_ = e.Error()
		}
		DecodePacketIn(b)
		DecodePacketOut(b)
		DecodePortStatus(b)
		DecodePortMod(b)
		DecodeFlowRemoved(b)
		DecodeRole(b, TypeRoleReply)
		DecodeSetAsync(b)
		DecodeFeatures(b)
		DecodeConfig(b, TypeGetConfigReply)
		DecodeBundleControl(b)
		DecodeBundleAdd(b)
		if e, err := DecodeExperimenter(b); err == nil {
			e.RoleStatus()
		}
		DecodeGroupMod(b)
		DecodeMeterMod(b)
		if m, err := DecodeFlowMod(b); err == nil {
			if _, err := AppendFlowMod(nil, 1, m); err != nil {
				t.Errorf("decoded but not encoded: %v", err)
			}
		}
		if m, err := DecodeMultipart(b, TypeMultipartReply); err == nil {
			for e, err := range Entries(m.Body, FlowStatsLen) {
				if err == nil {
					DecodeFlowStats(e)
				}
			}
			for e, err := range Entries(m.Body, GroupDescLen) {
				if err == nil {
					DecodeGroupDesc(e)
					DecodeMeterConfig(e)
				}
			}
			DecodePortDescs(m.Body)
			DecodeAggregate(m.Body)
			DecodeSwitchDesc(m.Body)
			DecodeFlowStatsRequest(m.Body)
		}
	})
}
