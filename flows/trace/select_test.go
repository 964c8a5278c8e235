package trace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// TestSelectGroupsOfOpenVSwitch: we know which select groups choose by a hash of the
// datapath, for which a packet is read anew, and which by one of Open vSwitch's own.
func TestSelectGroupsOfOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	f, err := flows.ParseFlow("actions=group:1")
	if err != nil {
		t.Fatal(err)
	}
	p := packet(t, 1, udpFrame(t))
	for _, weights := range [][]uint16{{1}, {0}, {0, 0}, {0, 5}, {1, 1}, {1, 15}, {1, 63}, {1, 64}, {2, 128}, {1, 255}, {1, 256}, {0, 1, 256}, {3, 3 * 255}, {1, 65535}, {7, 11, 13}} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			g := &flows.Group{ID: 1, Type: flows.GroupSelect}
			for i, w := range weights {
				g.Buckets = append(g.Buckets, flows.Bucket{Weight: w, WatchPort: flows.PortAny, WatchGroup: flows.GroupAny,
					Actions: []flows.Action{flows.Output{Port: uint32(2 + i)}}})
			}
			if err := v.load(&testCase{flows: []*flows.Flow{f}, groups: []*flows.Group{g}}); err != nil {
				t.Fatal(err)
			}
			flow, frame := p.asInput()
			text := v.call("ofproto/trace", "br0", flow, frame)
			if theirs := strings.Contains(text, "hash("); theirs != usesHash(g) {
				t.Errorf("we say that the datapath's hash is used: %v; Open vSwitch\n%s", usesHash(g), text)
			}
		})
	}
}
