package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Options say how to measure.
type Options struct {
	Rounds int // samples of each peer; 0 for the benchmark's usual number, 2 for a count, 1 at the smallest size
	Size   Size
	// Version is that of this program, for the record; empty for what the Go tools know.
	Version string
	// Progress, if not nil, is told of every step. It is never called concurrently, and the
	// measurement waits for it.
	Progress func(Event)
}

// measurement is a benchmark that runs.
type measurement struct {
	Benchmark
	opt     Options
	rounds  int
	warmUp  bool
	bench   *Bench
	samples [][]Sample // by peer
	done    int        // runs, those of the warm-up too
	env     Environment
	cond    Conditions
	gauge   gauge
}

// Measure runs a benchmark. If a peer fails or ctx ends, what was measured until then
// is returned with the error, and says that it is incomplete. So it is if every peer of ours is
// missing: what the rivals alone came to says nothing about the project.
func Measure(ctx context.Context, b Benchmark, opt Options) (*Result, error) {
	m := &measurement{Benchmark: b, opt: opt, rounds: cmp.Or(opt.Rounds, b.Rounds, DefaultRounds)}
	switch {
	case opt.Rounds != 0:
	case opt.Size.Smallest:
		m.rounds = 1
	case b.exact():
		m.rounds = countRounds
	}
	if m.rounds < 1 {
		return nil, fmt.Errorf("benchmark %s: %d rounds; at least one is needed", b.Name, m.rounds)
	}
	m.warmUp = !b.NoWarmUp && !b.exact() && m.rounds > 1 && !opt.Size.Smallest
	defer m.tell(Event{Phase: Finished})
	m.tell(Event{Phase: SettingUp})
	m.env = readEnvironment(ctx, opt.Version)
	bench, err := b.Setup(ctx, opt.Size)
	if err != nil {
		return nil, fmt.Errorf("benchmark %s: %w", b.Name, err)
	}
	m.bench, m.samples = bench, make([][]Sample, len(bench.Peers))
	m.Comparisons = slices.Concat(b.Comparisons, bench.Comparisons)
	m.env.Datapath = cmp.Or(bench.Datapath, m.env.Datapath)
	for i, p := range bench.Peers {
		if !opt.Size.Wants(p.Name) {
			bench.Peers[i].Run, bench.Peers[i].Missing = nil, LeftOut
		}
	}
	if err := cmp.Or(checkPeers(bench.Peers), m.checkRounds()); err != nil {
		return nil, errors.Join(fmt.Errorf("benchmark %s: %w", b.Name, err), bench.Close())
	}
	err = m.run(ctx)
	if err == nil && oursMissing(bench.Peers) {
		err = fmt.Errorf("benchmark %s: nothing of ours was measured: every peer of ours is missing; install what they ask for", b.Name)
	}
	m.tell(Event{Phase: Cleaning})
	if closeErr := bench.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("benchmark %s, cleaning up: %w", b.Name, closeErr))
	}
	res := m.result()
	if err != nil {
		res.Incomplete = oneLine(err.Error())
	}
	return res, err
}

// exact says that the value is a count.
func (b *Benchmark) exact() bool { return b.Rounds == 1 }

// checkPeers finds what would make a result ambiguous.
func checkPeers(peers []Peer) error {
	seen := map[string]bool{}
	for _, p := range peers {
		switch {
		case p.Name == "":
			return errors.New("a peer has no name")
		case seen[p.Name]:
			return fmt.Errorf("two peers are called %q", p.Name)
		case p.Role != Ours && p.Role != Rival && p.Role != Limit:
			return fmt.Errorf("peer %q has the role %q; want %q, %q or %q", p.Name, p.Role, Ours, Rival, Limit)
		case p.Missing == "" && p.Run == nil:
			return fmt.Errorf("peer %q can neither run nor says why it is missing", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// checkRounds refuses more samples than ReadResult would read.
func (m *measurement) checkRounds() error {
	count := map[string]int{}
	for _, p := range m.bench.Peers {
		if p.Missing == "" {
			count[p.Name] = m.rounds
		}
	}
	return checkSamples(count, m.Comparisons)
}

// oursMissing says that there are peers of ours, and none of them can run.
func oursMissing(peers []Peer) bool {
	ours := slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool { return p.Role != Ours })
	return len(ours) > 0 && !slices.ContainsFunc(ours, func(p Peer) bool { return p.Missing == "" })
}

// run takes all samples.
func (m *measurement) run(ctx context.Context) error {
	before, err := readUsage()
	if err != nil {
		return err
	}
	m.cond.Began, m.cond.LoadBefore = time.Now().UTC().Truncate(time.Second), before.load
	begun := time.Now()
	err = m.warm(ctx)
	for round := 1; round <= m.rounds && err == nil; round++ {
		m.gauge.take()
		err = m.round(ctx, round)
	}
	m.cond.Seconds = time.Since(begun).Seconds()
	m.cond.Noise = m.gauge.noise()
	after, usageErr := readUsage()
	if usageErr == nil {
		m.cond.LoadAfter = after.load
		m.cond.Steal, m.cond.IOWait = after.shares(before)
	}
	return errors.Join(err, usageErr)
}

// warm runs every peer once without counting it: the first run meets cold caches and files.
func (m *measurement) warm(ctx context.Context) error {
	if !m.warmUp {
		return nil
	}
	for _, p := range m.bench.Peers {
		if p.Missing != "" {
			continue
		}
		m.tell(Event{Phase: WarmingUp, Peer: p.Name, Role: p.Role})
		if _, err := runPeer(ctx, p); err != nil {
			return fmt.Errorf("benchmark %s, warming up, %s: %w", m.Name, p.Name, err)
		}
		m.done++
	}
	return nil
}

// order is that of the peers in a round: a random permutation, which depends on the round alone, so
// that it is the same in every run. A fixed cycle would not do: each peer would follow the same one
// in every round, and bear what that one leaves behind.
func order(round, peers int) []int {
	return rand.New(rand.NewPCG(seed, uint64(round))).Perm(peers)
}

// round runs every peer once.
func (m *measurement) round(ctx context.Context, round int) error {
	for _, i := range order(round, len(m.bench.Peers)) {
		p := m.bench.Peers[i]
		if p.Missing != "" {
			continue
		}
		e := Event{Phase: Measuring, Round: round, Peer: p.Name, Role: p.Role}
		m.tell(e)
		s, err := runPeer(ctx, p)
		if err != nil {
			return fmt.Errorf("benchmark %s, round %d of %d, %s: %w", m.Name, round, m.rounds, p.Name, err)
		}
		if first := m.samples[i]; m.exact() && len(first) > 0 && s.Value != first[0].Value {
			return fmt.Errorf("benchmark %s, round %d of %d, %s: the count is not exact: %v in the first round, now %v: repeat it, or let the benchmark take rounds and intervals",
				m.Name, round, m.rounds, p.Name, first[0].Value, s.Value)
		}
		m.samples[i] = append(m.samples[i], s)
		m.done++
		e.Phase, e.Sample = Measured, s
		m.tell(e)
	}
	return nil
}

// runPeer takes a sample, and refuses what no statistics can be made of.
func runPeer(ctx context.Context, p Peer) (Sample, error) {
	if err := ctx.Err(); err != nil {
		return Sample{}, err
	}
	s, err := p.Run(ctx)
	if err != nil {
		return Sample{}, err
	}
	if !finite(s.Value) {
		return Sample{}, fmt.Errorf("it measured %v, which is no number: the benchmark is wrong", s.Value)
	}
	for name, v := range s.Detail {
		if !finite(v) {
			return Sample{}, fmt.Errorf("it measured %s = %v, which is no number: the benchmark is wrong", name, v)
		}
	}
	return s, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// tell completes an event and hands it over.
func (m *measurement) tell(e Event) {
	if m.opt.Progress == nil {
		return
	}
	e.Benchmark, e.Unit, e.Rounds, e.Done = m.Name, m.Unit, m.rounds, m.done
	if m.bench != nil {
		e.SoFar = m.result
		runs := m.rounds
		if m.warmUp {
			runs++
		}
		for _, p := range m.bench.Peers {
			if p.Missing == "" {
				e.Total += runs
			}
		}
	}
	m.opt.Progress(e)
}
