package harness

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Summary is what several results come to.
type Summary struct {
	// Verdicts counts the comparisons that have an aim.
	Verdicts map[Verdict]int
	// Aims is their number.
	Aims int
	// Lost counts the comparisons, with an aim or without, in which a rival is clearly better.
	Lost int
}

// Sum counts what results came to.
func Sum(results []*Result) Summary {
	s := Summary{Verdicts: map[Verdict]int{}}
	for _, r := range results {
		for _, c := range r.Comparisons {
			if c.Aimed() {
				s.Verdicts[c.Verdict]++
				s.Aims++
			}
		}
		s.Lost += len(r.Losses())
	}
	return s
}

// String is the summary in a line.
func (s Summary) String() string {
	line := fmt.Sprintf("%d of %d aims reached, %d missed, %d cannot be told, %d not measured; we lose in ",
		s.Verdicts[AimReached], s.Aims, s.Verdicts[AimMissed], s.Verdicts[Unclear], s.Verdicts[NotMeasured])
	switch s.Lost {
	case 0:
		return line + "no comparison"
	case 1:
		return line + "1 comparison"
	}
	return line + fmt.Sprintf("%d comparisons", s.Lost)
}

// WriteSummary writes the summary for people, and after it every comparison that is not won: an aim that is
// missed, cannot be told or was not measured, a rival that is clearly better, and a peer that is missing. Of
// the smallest size it says only that, since no comparison means anything there.
func WriteSummary(w io.Writer, results []*Result) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, Sum(results))
	if slices.ContainsFunc(results, func(r *Result) bool { return r.Asked.Smallest }) {
		fmt.Fprintln(&b, "the smallest size shows that everything runs; its times and rates mean nothing")
	}
	for _, r := range results {
		for _, c := range r.Comparisons {
			if !r.Asked.Smallest && (c.WeLose || c.Aimed() && c.Verdict != AimReached) {
				fmt.Fprintf(&b, "%s: %s\n", r.Benchmark, r.Sentence(c))
			}
		}
		for _, p := range r.MissingPeers() {
			fmt.Fprintf(&b, "%s: %s is missing: %s\n", r.Benchmark, p.Name, p.Missing)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteMarkdownSummary writes the summary, a table of every aim, and a list of the comparisons that are lost.
func WriteMarkdownSummary(w io.Writer, results []*Result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s.\n\n", sentenceCase(Sum(results).String()))
	var rows [][]string
	var lost bytes.Buffer
	for _, r := range results {
		for _, c := range r.Comparisons {
			if c.Aimed() {
				rows = append(rows, []string{r.Benchmark, c.Claim(), r.Figure(c), r.Words(c)})
			}
		}
		for _, c := range r.Losses() {
			fmt.Fprintf(&lost, "- %s: %s\n", markdown(r.Benchmark), markdown(r.Sentence(c)))
		}
	}
	if rows != nil {
		markdownTable(&b, []string{"benchmark", "aim", "measured", "verdict"}, rows)
	}
	if lost.Len() > 0 {
		fmt.Fprintf(&b, "Where we lose:\n\n%s\n", lost.String())
	}
	_, err := w.Write(b.Bytes())
	return err
}

// MissingPeers are the peers that this run lacked.
func (r *Result) MissingPeers() []PeerResult {
	return slices.DeleteFunc(slices.Clone(r.Peers), func(p PeerResult) bool { return p.Missing == "" })
}
