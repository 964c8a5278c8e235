package suite

import (
	"context"
	"errors"
	"fmt"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// Each figure that needs a lab comes to a result at its smallest size, with samples of every
// peer, and leaves no namespace behind. What the values are is no test's business.
func TestLabFiguresAtTheirSmallest(t *testing.T) {
	needSwitch(t)
	for _, c := range []struct {
		figure  harness.Benchmark
		scale   int
		peers   []string
		details []string // of the first peer
	}{
		{Apply(), 20, []string{peerOneNetwork, peerTenNetworks}, []string{"flows", "put_ms"}},
		{PlugFirstPing(), 2, []string{peerPing(2), peerPingOVN(2), peerVsctl(2), peerByHand(2)}, []string{"vsctl_ms"}},
		{MigrationGap(), 0, []string{peerMigration, peerMigrationVM, peerMigrationByHand, peerPause}, []string{"away_ms", "twice_datagrams"}},
		{TapFirstPing(), 0, []string{peerTapNamespace, peerTapMachine}, []string{"vsctl_ms"}},
		{FlowsPerPort(), 1, []string{localTo(peerOurs), remoteTo(peerOurs), localTo(peerOVN), remoteTo(peerOVN)}, []string{"flows_after", "flows_before"}},
	} {
		t.Run(c.figure.Name, func(t *testing.T) {
			res, err := harness.Measure(t.Context(), c.figure, harness.Options{Rounds: 2, Size: harness.Size{Scale: c.scale}})
			if err != nil {
				t.Fatal(err)
			}
			var peers []string
			for _, p := range res.Peers {
				peers = append(peers, p.Name)
				if p.Missing != "" && os.Getenv("CI") != "true" {
					t.Logf("NOT TESTED with %s: %s", p.Name, p.Missing)
					continue
				}
				if p.Min <= 0 || len(p.Samples) != 2 {
					t.Errorf("%s: samples %+v", p.Name, p.Samples)
				}
			}
			if diff := cmp.Diff(c.peers, peers); diff != "" {
				t.Errorf("peers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.details, slices.Sorted(maps.Keys(res.Peers[0].Detail))); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			nothingLeft(t)
		})
	}
}

// A port takes the flows that the design allows it; this figure is a count, and exact.
func TestFlowsPerPortReachesItsAims(t *testing.T) {
	needSwitch(t)
	res, err := harness.Measure(t.Context(), FlowsPerPort(), harness.Options{Size: harness.Size{Scale: 10}})
	if err != nil {
		t.Fatal(err)
	}
	aims := 0
	for _, c := range res.Comparisons {
		if c.Aim == 0 {
			continue
		}
		if aims++; c.Verdict != harness.AimReached {
			t.Errorf("%+v", c)
		}
	}
	if aims != 2 {
		t.Errorf("%d aims among %+v", aims, res.Comparisons)
	}
}

// A figure that fails half-way has removed its lab.
func TestLabIsRemovedAfterAFailure(t *testing.T) {
	needSwitch(t)
	broken := errors.New("broken")
	fig := Apply()
	setUp := fig.Setup
	fig.Setup = func(ctx context.Context, size harness.Size) (*harness.Bench, error) {
		b, err := setUp(ctx, size)
		if err == nil {
			b.Peers[1].Run = func(context.Context) (harness.Sample, error) {
				if !slices.ContainsFunc(namespaces(t), ours) {
					t.Error("the lab is up, and this test does not see it")
				}
				return harness.Sample{}, broken
			}
		}
		return b, err
	}
	if _, err := harness.Measure(t.Context(), fig, harness.Options{Rounds: 1, Size: harness.Size{Smallest: true}}); !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
	nothingLeft(t)
}

// ours reports whether a namespace is of a lab of this process.
func ours(namespace string) bool {
	return strings.HasPrefix(namespace, fmt.Sprintf("bench%d-", os.Getpid()))
}

func namespaces(t *testing.T) []string {
	t.Helper()
	all, err := netdev.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if i := slices.IndexFunc(namespaces(t), ours); i >= 0 {
		t.Errorf("namespace %s is left", namespaces(t)[i])
	}
}
