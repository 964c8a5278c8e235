package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
	"github.com/ofctl-lab/ofctl-lab/flows/verify"
)

// verifyExtents are the overlays that are proved: of about 1,000 flows on each host.
var verifyExtents = []extent{{2, 6, 110}, {20, 60, 530}, {100, 400, 2700}}

// usPerFlow is the detail that says what a flow costs.
const usPerFlow = "us_per_flow"

// Verify is how long it takes to prove that the networks of an overlay are apart, beside what one would do
// else: send a packet from everybody to everybody.
func Verify() harness.Benchmark {
	b := harness.Benchmark{
		Name:  "verify",
		Title: "all networks of an overlay proved to be apart",
		Means: "How long one waits for the answer whether any packet there can be gets from one tenant to another. The flows of all hosts, about 1,000 each, are compiled beforehand and in memory; " +
			"the verifier proves for all packets from all ports and tunnels that they stay in their network, carry its key, do not loop, arrive once and meet only declared flows. " +
			"Probing is what is done where there is no such proof: one packet from each guest to each other one, through flows/trace, which is much faster than a real switch, and " +
			"it must arrive if the two are in one network and nowhere else; it proves no more than that of these very packets. With 100 hosts it does a hundredth of the pairs. " +
			"Both use as many threads as there are processors.",
		Unit:   "ms",
		Better: harness.Lower,
		Setup:  setUpVerify,
	}
	for _, e := range verifyExtents {
		c := harness.Comparison{Peer: verifier(e), Against: probing(e)}
		b.Comparisons = append(b.Comparisons, c)
	}
	last, before := verifyExtents[2], verifyExtents[1]
	b.Comparisons = append(b.Comparisons,
		harness.Comparison{Peer: verifier(last), Aim: 1000},
		harness.Comparison{Peer: verifier(last), Against: verifier(before), Detail: usPerFlow, Better: harness.Lower})
	return b
}

// The names of the peers of verify.
func verifier(e extent) string { return fmt.Sprintf("verifier, %d hosts", e.hosts) }

func probing(e extent) string {
	if s := strideOf(e); s > 1 {
		return fmt.Sprintf("probing, %d hosts, one pair of %d", e.hosts, s)
	}
	return fmt.Sprintf("probing, %d hosts", e.hosts)
}

// strideOf is how many pairs of guests there are for each that is probed: with all of them, 100 hosts
// would take half a minute.
func strideOf(e extent) int {
	if e.ports > 1000 {
		return 100
	}
	return 1
}

// setUpVerify takes as a scale the number of hosts of the largest overlay.
func setUpVerify(ctx context.Context, size harness.Size) (*harness.Bench, error) {
	most := size.Scale
	switch {
	case size.Smallest:
		most = verifyExtents[0].hosts
	case most == 0:
		most = verifyExtents[len(verifyExtents)-1].hosts
	}
	b := &harness.Bench{Close: func() error { return nil }}
	for _, e := range verifyExtents {
		if e.hosts > most {
			continue
		}
		c, err := compileOverlay(e)
		if err != nil {
			return nil, err
		}
		network, err := c.network()
		if err != nil {
			return nil, err
		}
		p := &proving{compiled: c, net: network}
		b.Scale = e.hosts
		b.Load = fmt.Sprintf("%d hosts, %d networks, %d ports, %d flows", e.hosts, e.networks, e.ports, c.flows)
		b.Peers = append(b.Peers,
			harness.Peer{Name: verifier(e), Role: harness.Ours, Run: p.prove},
			harness.Peer{Name: probing(e), Role: harness.Rival, Run: p.probe})
	}
	if len(b.Peers) == 0 {
		return nil, fmt.Errorf("%d hosts: want at least %d", most, verifyExtents[0].hosts)
	}
	return b, ctx.Err()
}

// proving is an overlay that both peers work on.
type proving struct {
	*compiled
	net *trace.Network
	was verify.Report // of the first sample
}

func (p *proving) prove(ctx context.Context) (harness.Sample, error) {
	o := p.overlay()
	o.Workers = runtime.GOMAXPROCS(0)
	var r *verify.Report
	elapsed, cpu, err := timed(ownCPU, func() (err error) {
		r, err = verify.Verify(ctx, o)
		return err
	})
	if err != nil {
		return harness.Sample{}, err
	}
	switch {
	case !r.Proved():
		return harness.Sample{}, fmt.Errorf("not proved: %d violations, %d doubts", len(r.Violations), len(r.Doubts))
	case r.Flows != p.flows || r.Hosts != p.extent.hosts:
		return harness.Sample{}, fmt.Errorf("it saw %d flows on %d hosts, of %d on %d", r.Flows, r.Hosts, p.flows, p.extent.hosts)
	case p.was.Classes != 0 && p.was.Classes != r.Classes:
		return harness.Sample{}, fmt.Errorf("it took %d sets of packets, and %d before", r.Classes, p.was.Classes)
	}
	p.was = *r
	return harness.Sample{Value: ms(elapsed), Detail: map[string]float64{
		"flows": float64(r.Flows), "classes": float64(r.Classes), "ingresses": float64(r.Ingresses),
		usPerFlow: elapsed.Seconds() * 1e6 / float64(r.Flows), "cpu_ms": ms(cpu),
	}}, nil
}

func (p *proving) probe(ctx context.Context) (harness.Sample, error) {
	sent := 0
	elapsed, cpu, err := timed(ownCPU, func() (err error) {
		sent, err = p.probeAll(ctx)
		return err
	})
	if err != nil {
		return harness.Sample{}, err
	}
	return harness.Sample{Value: ms(elapsed), Detail: map[string]float64{
		"packets": float64(sent), "us_per_packet": elapsed.Seconds() * 1e6 / float64(sent), "cpu_ms": ms(cpu),
	}}, nil
}

// timed is how long work takes, and how much of somebody's processor time. It collects garbage beforehand, so
// that what others left does not fall into the time of one.
func timed(cpu func() (time.Duration, error), work func() error) (elapsed, spent time.Duration, err error) {
	runtime.GC()
	before, err := cpu()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	err = work()
	elapsed = time.Since(start)
	if err != nil {
		return 0, 0, err
	}
	after, err := cpu()
	return elapsed, after - before, err
}

// probeAll sends a packet for each pair of guests that is probed, and returns how many those were.
func (p *proving) probeAll(ctx context.Context) (int, error) {
	workers := runtime.GOMAXPROCS(0)
	sent, errs := make([]int, workers), make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for from := w; from < len(p.guests) && errs[w] == nil; from += workers {
				var n int
				n, errs[w] = p.probeFrom(from)
				sent[w] += n
				if errs[w] == nil {
					errs[w] = ctx.Err()
				}
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range sent {
		sum += n
	}
	return sum, errors.Join(errs...)
}

func (p *proving) probeFrom(from int) (sent int, err error) {
	a, stride := p.guests[from], strideOf(p.extent)
	for to, b := range p.guests {
		// Shifted, so that it is not the same few that get all packets.
		if to == from || (to+from)%stride != 0 {
			continue
		}
		in, err := trace.NewPacket(a.port, frame(a, b))
		if err != nil {
			return sent, err
		}
		hop, err := p.net.Trace(a.host.name, in, trace.Options{})
		if err != nil {
			return sent, err
		}
		sent++
		arrived, elsewhere := ends(hop, b)
		want := 0
		if slices.Contains(*b.carries, a.network) && (a.host != b.host || a.port != b.port) {
			want = 1
		}
		if arrived != want || elsewhere != 0 {
			return sent, fmt.Errorf("a packet from port %d on %s to port %d on %s arrives %d times, want %d, and elsewhere %d times",
				a.port, a.host.name, b.port, b.host.name, arrived, want, elsewhere)
		}
	}
	return sent, nil
}

// ends counts the copies of a packet that arrive at a guest's port, and those that arrive anywhere else.
func ends(hop *trace.Hop, at *guest) (arrived, elsewhere int) {
	for bi := range hop.Result.Branches {
		for oi := range hop.Result.Branches[bi].Outputs {
			switch o := &hop.Result.Branches[bi].Outputs[oi]; {
			case o.Tunnel != nil:
			case hop.Host == at.host.name && o.Port == at.port:
				arrived++
			default:
				elsewhere++
			}
		}
	}
	for _, next := range hop.Next {
		if next.Hop == nil {
			elsewhere++ // a copy that is lost is none that should have been sent
			continue
		}
		a, e := ends(next.Hop, at)
		arrived, elsewhere = arrived+a, elsewhere+e
	}
	return arrived, elsewhere
}
