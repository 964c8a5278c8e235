package harness

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode"
)

// The bounds of a result that is read.
const (
	maxResultBytes = 16 << 20
	maxPeers       = 100
	maxRounds      = 10_000
	// maxSamples bounds the time that intervals take: a sample counts once for its peer, and once for
	// each comparison that it is in.
	maxSamples = 20_000
	maxDetails = 100
	maxName    = 200    // bytes
	maxText    = 10_000 // bytes
)

// WriteJSON writes the result, indented, with a newline at the end. The same result
// makes the same bytes.
func (r *Result) WriteJSON(w io.Writer) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("result of benchmark %s: %w", r.Benchmark, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// ReadResult reads what WriteJSON wrote. The input is not trusted: what is not a complete and
// consistent result is an error that says what is wrong. Medians, percentiles, intervals, ratios and verdicts
// are computed again from the samples and the histograms, and those of the file are not looked at.
func ReadResult(from io.Reader) (*Result, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxResultBytes+1))
	if err != nil {
		return nil, fmt.Errorf("result of a benchmark: %w", err)
	}
	if len(text) > maxResultBytes {
		return nil, fmt.Errorf("result of a benchmark: more than %d bytes", maxResultBytes)
	}
	// The schema first: another one may have other types.
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("result of a benchmark: %w", err)
	}
	switch {
	case head.Schema == nil:
		return nil, errors.New("result of a benchmark: no field schema: this is not what ofctl-lab bench writes")
	case *head.Schema != Schema:
		return nil, fmt.Errorf("result of a benchmark: schema %d; this ofctl-lab reads %d: measure again, or use the version that wrote it", *head.Schema, Schema)
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("result of a benchmark: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("result of benchmark %q: %w", r.Benchmark, err)
	}
	if err := r.deriveAgain(); err != nil {
		return nil, fmt.Errorf("result of benchmark %q: %w", r.Benchmark, err)
	}
	return r, nil
}

// deriveAgain works out anew what can be, and refuses samples that are too far apart for it.
func (r *Result) deriveAgain() error {
	for i := range r.Peers {
		if err := r.Peers[i].Latency.derive(); err != nil {
			return fmt.Errorf("peer %q: %w", r.Peers[i].Name, err)
		}
	}
	r.derive(r.declared())
	for i, c := range r.Comparisons {
		if !finite(c.Measured) || c.Interval != nil && !(finite(c.Interval.Low) && finite(c.Interval.High)) {
			return fmt.Errorf("comparison %d: %s comes to %v, which is no number", i+1, c.Claim(), c.Measured)
		}
	}
	return nil
}

// check finds what no measurement writes.
func (r *Result) check() error {
	if err := r.checkTexts(); err != nil {
		return err
	}
	switch {
	case r.Benchmark == "":
		return errors.New("benchmark is empty")
	case r.Unit == "":
		return errors.New("unit is empty")
	case r.Better != Higher && r.Better != Lower:
		return fmt.Errorf("better is %q; want %q or %q", r.Better, Higher, Lower)
	case r.Rounds < 1 || r.Rounds > maxRounds:
		return fmt.Errorf("%d rounds; want 1 … %d", r.Rounds, maxRounds)
	case len(r.Peers) == 0 || len(r.Peers) > maxPeers:
		return fmt.Errorf("%d peers; want 1 … %d", len(r.Peers), maxPeers)
	case len(r.Comparisons) > maxPeers*maxPeers:
		return fmt.Errorf("%d comparisons are too many", len(r.Comparisons))
	case r.Scale < 0 || r.Asked.Scale < 0 || r.Asked.Rounds < 0:
		return errors.New("a scale or a number of rounds is negative")
	}
	seen := map[string]bool{}
	for i := range r.Peers {
		p := &r.Peers[i]
		if seen[p.Name] {
			return fmt.Errorf("two peers are called %q", p.Name)
		}
		seen[p.Name] = true
		if err := p.check(r.Rounds); err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
		if r.Exact && slices.ContainsFunc(p.Samples, func(s Sample) bool { return s.Value != p.Samples[0].Value }) {
			return fmt.Errorf("peer %q: the count is not exact: its samples differ", p.Name)
		}
	}
	for i, c := range r.Comparisons {
		if err := cmp.Or(c.check(), r.checkNamed(c, c.Peer), r.checkNamed(c, c.Against)); err != nil {
			return fmt.Errorf("comparison %d: %w", i+1, err)
		}
	}
	return cmp.Or(checkSamples(r.counts(), r.declared()), r.Conditions.check())
}

// checkNamed refuses a comparison with a peer that there is not, unless it says that it was not measured: that
// is how a size without the peer is written.
func (r *Result) checkNamed(c ComparisonResult, peer string) error {
	if peer != "" && r.peer(peer) == nil && c.Verdict != NotMeasured {
		return fmt.Errorf("no peer is called %q, and yet the verdict is %q", peer, c.Verdict)
	}
	return nil
}

// counts are the numbers of samples by peer.
func (r *Result) counts() map[string]int {
	count := map[string]int{}
	for _, p := range r.Peers {
		count[p.Name] = len(p.Samples)
	}
	return count
}

// declared are the comparisons without what they came to.
func (r *Result) declared() []Comparison {
	var declared []Comparison
	for _, c := range r.Comparisons {
		declared = append(declared, c.Comparison)
	}
	return declared
}

// checkSamples bounds what derive has to do, by the samples of each peer.
func checkSamples(count map[string]int, comparisons []Comparison) error {
	n := 0
	for _, c := range count {
		n += c
	}
	for _, c := range comparisons {
		n += count[c.Peer] + count[c.Against]
	}
	if n > maxSamples {
		return fmt.Errorf("%d samples, those of each comparison among them, are too many; at most %d: take fewer rounds", n, maxSamples)
	}
	return nil
}

// checkTexts holds texts to a length, and to characters that can be printed: others move a terminal's cursor, or
// turn the order of what is read.
func (r *Result) checkTexts() error {
	e := r.Environment
	texts := map[string]string{"title": r.Title, "means": r.Means, "load": r.Load, "incomplete": r.Incomplete, "cpu": e.CPU,
		"affinity": e.Affinity, "kernel": e.Kernel, "distribution": e.Distribution, "go": e.Go,
		"open_vswitch": e.OpenVSwitch, "datapath": e.Datapath, "environment.version": e.Version}
	for name, text := range texts {
		if err := checkText(text, maxText); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, text := range map[string]string{"benchmark": r.Benchmark, "unit": r.Unit} {
		if err := checkText(text, maxName); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkText(text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%d bytes are too long; at most %d", len(text), most)
	}
	for _, c := range text {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("the character %U cannot be printed", c)
		}
	}
	return nil
}

func (p *PeerResult) check(rounds int) error {
	if err := cmp.Or(checkText(p.Name, maxName), checkText(p.Version, maxText), checkText(p.Missing, maxText)); err != nil {
		return err
	}
	switch {
	case p.Name == "":
		return errors.New("no name")
	case p.Role != Ours && p.Role != Rival && p.Role != Limit:
		return fmt.Errorf("role is %q; want %q, %q or %q", p.Role, Ours, Rival, Limit)
	case len(p.Samples) > rounds:
		return fmt.Errorf("%d samples in %d rounds", len(p.Samples), rounds)
	case p.Missing != "" && p.Measured():
		return errors.New("it is missing, and has samples")
	}
	for _, s := range p.Samples {
		if len(s.Detail) > maxDetails {
			return fmt.Errorf("%d details; at most %d", len(s.Detail), maxDetails)
		}
		for name := range s.Detail {
			if err := checkText(name, maxName); err != nil {
				return fmt.Errorf("detail %q: %w", name, err)
			}
		}
	}
	return nil
}

func (c ComparisonResult) check() error {
	for _, text := range []string{c.Peer, c.Against, c.Detail} {
		if err := checkText(text, maxName); err != nil {
			return err
		}
	}
	if c.Better != Higher && c.Better != Lower {
		return fmt.Errorf("better is %q; want %q or %q", c.Better, Higher, Lower)
	}
	return nil
}

func (c Conditions) check() error {
	// A duration of nanoseconds holds 292 years.
	if c.Seconds < 0 || c.Seconds > 1e9 {
		return fmt.Errorf("the run took %v s", c.Seconds)
	}
	if c.Noise.Spins < 0 {
		return fmt.Errorf("%d spins", c.Noise.Spins)
	}
	return nil
}
