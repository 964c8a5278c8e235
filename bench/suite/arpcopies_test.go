package suite

import (
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

// Known neighbours cost the underlay nothing, and what has to be flooded goes to the other host
// once. The VLAN trunk shows that the frames are seen where they are: a request, and a reply.
func TestARPCopiesAreCounted(t *testing.T) {
	needSwitch(t)
	res, err := harness.Measure(t.Context(), ARPCopies(), harness.Options{Size: harness.Size{Scale: 3}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range res.Peers {
		if p.Missing != "" {
			notTested(t, p)
			continue
		}
		want := 0.0
		if p.Name == peerVLAN {
			want = 2
		}
		s := p.Samples[0]
		if s.Value != want || s.Detail[unknownFrames] != 1 || s.Detail[announcedFrames] != 1 {
			t.Errorf("%s: %v frames for a neighbour, want %v; %v, want 1 of each", p.Name, s.Value, want, s.Detail)
		}
	}
}
