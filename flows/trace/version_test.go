package trace

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"3.1.0": V31, "3.5": V35, "3.5.0-vendor.1": V35, "3.17.9": {3, 17}, "2.17.90": {2, 17},
		"": VersionUnknown, "3": VersionUnknown, "3.": VersionUnknown, "v3.5.0": VersionUnknown, "-3.5": VersionUnknown,
		"3.99999.1": VersionUnknown, "3.5\n": V35, "Open vSwitch 3.5.0": VersionUnknown,
	} {
		if got, err := ParseVersion(text); got != want || (err != nil) != (want == VersionUnknown) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	if got := (Version{}).String() + " " + V35.String(); got != "3.1 3.5" {
		t.Error(got)
	}
}

// setInside are flows of which versions differ in the action set that is done inside an
// action: for each which ports copies leave by, as Open vSwitch 3.1 and 3.5 do. A real one
// is asked as well.
var setInside = []struct {
	name, flows string
	v31, v35    []uint32
}{
	{"clone", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=clone(push_vlan:0x8100),output:3", []uint32{2, 3, 2}, []uint32{3, 2}},
	{"clone, datapath's", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=clone(output(port=4,max_len=20),output:3),output:3",
		[]uint32{4, 3, 2, 3, 2}, []uint32{4, 3, 3, 2}},
	{"clone that has written its own", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=clone(resubmit(,2)),output:3\ntable=2 actions=write_actions(output:4)",
		[]uint32{4, 3, 2}, []uint32{4, 3, 2}},
	{"clone last", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=clone(output:3)", []uint32{3, 2, 2}, []uint32{3, 2}},
	{"check_pkt_larger, larger", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=check_pkt_larger(20)->NXM_NX_REG0[0],output:3", []uint32{3, 2, 2}, []uint32{3, 2}},
	{"check_pkt_larger, smaller", "priority=1 actions=write_actions(output:2),goto_table:1\ntable=1 actions=check_pkt_larger(200)->NXM_NX_REG0[0],output:3", []uint32{3, 2}, []uint32{3, 2}},
	{"check_pkt_larger without a set", "priority=1 actions=check_pkt_larger(20)->NXM_NX_REG0[0],output:3", []uint32{3}, []uint32{3}},
}

func TestActionSetInsideAnActionByVersion(t *testing.T) {
	for _, k := range setInside {
		for v, want := range map[Version][]uint32{{}: k.v31, {2, 17}: k.v31, V31: k.v31, V35: k.v35, {3, 6}: k.v35, {4, 0}: k.v35, {3, 3}: nil, VersionUnknown: nil} {
			s, err := New(Config{Name: "br0", Version: v, State: stateOf(t, k.flows), Ports: testPorts})
			if err != nil {
				t.Fatal(err)
			}
			res := s.Trace(packet(t, 1, udpFrame(t)), Options{})
			said := strings.Join(res.Branches[0].Unknown, "; ")
			if want == nil { // nobody knows, which matters where there is a set
				if (res.Verdict == Unknown) != strings.Contains(k.flows, "write_actions(output:2)") || res.Verdict == Unknown && !strings.Contains(said, "3.1") {
					t.Errorf("%s, Open vSwitch %s: %s, %q", k.name, v, res.Verdict, said)
				}
				continue
			}
			var got []uint32
			for _, o := range res.Branches[0].Outputs {
				got = append(got, o.Port)
			}
			if !slices.Equal(got, want) || said != "" {
				t.Errorf("%s, Open vSwitch %s: copies leave by %v, want %v; %s", k.name, v, got, want, said)
			}
		}
	}
}

// TestActionSetInsideAnActionOfOpenVSwitch: the switch that is here does what its version is
// said to do.
func TestActionSetInsideAnActionOfOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	for _, k := range setInside {
		c := &testCase{packets: []*Packet{packet(t, 1, udpFrame(t))}}
		for line := range strings.Lines(k.flows) {
			f, err := flows.ParseFlow(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			c.flows = append(c.flows, f)
		}
		t.Run(k.name, func(t *testing.T) {
			if d, _, err := v.disagreeOn(c, c.packets[0]); err != nil || d != "" {
				t.Error(d, err)
			}
		})
	}
}
