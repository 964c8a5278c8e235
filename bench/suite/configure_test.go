package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
	"github.com/ofctl-lab/ofctl-lab/bench/peers/ovn"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

// needOVN skips a test where OVN cannot be run, and fails it in CI, as needSwitch does.
func needOVN(t *testing.T) {
	t.Helper()
	needSwitch(t)
	if lacks := ovn.Missing(); lacks != "" {
		need.Have(t, errors.New(lacks))
	}
}

// Both controllers come to a result, in one network and in ten, and leave nothing behind.
func TestConfigureAtItsSmallest(t *testing.T) {
	needOVN(t)
	res, err := harness.Measure(t.Context(), Configure(), harness.Options{Rounds: 2, Size: harness.Size{Smallest: true}})
	if err != nil {
		t.Fatal(err)
	}
	var peers []string
	for _, p := range res.Peers {
		peers = append(peers, p.Name)
		if len(p.Samples) != 2 {
			t.Errorf("%s: samples %+v", p.Name, p.Samples)
		}
		for _, s := range p.Samples {
			if s.Value <= 0 || s.Detail[controlPSS] <= 0 || s.Detail[controlCPU] <= 0 || s.Detail[flowsPerHost] <= 0 {
				t.Errorf("%s: sample %+v", p.Name, s)
			}
		}
	}
	if diff := cmp.Diff([]string{"ofctl-lab, one network", "OVN, one network", "ofctl-lab, 10 networks", "OVN, 10 networks"}, peers); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{controlCPU, controlPSS, flowsPerHost, switchCPU, tooEarly}, slices.Sorted(maps.Keys(res.Peers[0].Detail))); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	nothingLeft(t)
}

// switches pretend: their flows are as told, and not what a controller has made.
type switches struct {
	controlled
	counts [][2]int // of both hosts, at each time that they are counted; the last one stays
}

func (s *switches) Up(context.Context, overlay.Topology) error { return nil }
func (s *switches) CPU() (time.Duration, error)                { return 0, nil }
func (s *switches) Hosts() []string                            { return []string{overlay.Host1, overlay.Host2} }
func (s *switches) ControlPlane() ([]overlay.Process, error)   { return nil, nil }

func (s *switches) FlowCount(_ context.Context, host string) (int, error) {
	if host == overlay.Host1 {
		return s.counts[0][0], nil
	}
	n := s.counts[0][1]
	if len(s.counts) > 1 {
		s.counts = s.counts[1:]
	}
	return n, nil
}

// A controller that says it is done before the flows are there is timed until they are, and
// one that never gets there, or leaves flows behind, has no figure.
func TestConfigureCountsTheFlows(t *testing.T) {
	few, all := [2]int{5, 5}, [2]int{50, 50}
	for name, c := range map[string]struct {
		less, whole [2][][2]int // counts, in the first and in the second sample
		late        bool        // the second sample
		want        string
	}{
		"all there":     {[2][][2]int{{few}, {few}}, [2][][2]int{{all}, {all}}, false, ""},
		"late":          {[2][][2]int{{few}, {few}}, [2][][2]int{{all}, {{50, 5}, {50, 20}, all}}, true, ""},
		"late at first": {[2][][2]int{{few}, {few}}, [2][][2]int{{few, {50, 5}, all}, {all}}, false, ""},
		"never":         {[2][][2]int{{few}, {few}}, [2][][2]int{{{50, 5}}, {all}}, false, "the switches hold [50 5] flows"},
		"none at all":   {[2][][2]int{{few}, {few}}, [2][][2]int{{few}, {all}}, false, "46 at least"},
		"left behind":   {[2][][2]int{{few}, {{5, 6}}}, [2][][2]int{{all}, {all}}, false, "hold [5 6] flows, and held 10 in sum"},
		"not the same":  {[2][][2]int{{few}, {few}}, [2][][2]int{{all}, {{50, 49}}}, false, "hold [50 49] flows, and held 100 in sum"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &switches{}
			round := 0
			patience := time.Minute // never used up where the flows do come
			if c.want != "" {
				patience = time.Millisecond
			}
			conf := &configuring{less: spread(2, 1), whole: spread(20, 1), patience: patience, contender: &contender{
				controlled: s,
				apply: func(_ context.Context, to overlay.Topology) error {
					s.counts = c.less[round]
					if len(to.Ports) > 2 {
						s.counts = c.whole[round]
					}
					return nil
				},
			}}
			var last harness.Sample
			var err error
			for round = range 2 {
				var sampleErr error
				last, sampleErr = conf.sample(t.Context())
				err = errors.Join(err, sampleErr)
			}
			if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
				t.Errorf("error %q, want %q", got, c.want)
			}
			if early := last.Detail[tooEarly]; c.want == "" && (early > 0 != c.late || early > last.Value) {
				t.Errorf("the word came %v ms too early, in a sample of %v ms", early, last.Value)
			}
		})
	}
}

func TestPortsOfASize(t *testing.T) {
	for _, c := range []struct {
		size harness.Size
		want int // 0 is an error
	}{
		{harness.Size{}, 1000},
		{harness.Size{Smallest: true}, 20},
		{harness.Size{Scale: 50}, 50},
		{harness.Size{Scale: 19}, 0},
		{harness.Size{Scale: maxLabPorts + 1}, 0},
	} {
		if got, err := portsOf(c.size, 1000, 20); got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%+v: %d, %v; want %d", c.size, got, err, c.want)
		}
	}
}
