package main

import (
	"cmp"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/results"
)

// benchInfo is a benchmark and what is known of it.
type benchInfo struct {
	Name        string         `json:"name"`
	Title       string         `json:"title"`
	Means       string         `json:"means,omitempty"`
	Unit        string         `json:"unit"`
	Better      harness.Better `json:"better"`
	Rounds      int            `json:"rounds"`
	Comparisons []comparedInfo `json:"comparisons,omitempty"`
	Last        *lastRun       `json:"last,omitempty"` // nil if no result is committed
}

// comparedInfo is a comparison and what it last came to.
type comparedInfo struct {
	harness.Comparison
	Claim string                    `json:"claim"`
	Last  *harness.ComparisonResult `json:"last,omitempty"` // nil if this comparison has never been made
	// Figure and Words are Last for people.
	Figure string `json:"figure,omitempty"`
	Words  string `json:"words,omitempty"`
}

// lastRun is the run of the committed result.
type lastRun struct {
	harness.Conditions
	Scale       int                 `json:"scale"`
	Environment harness.Environment `json:"environment"`
}

// benchList is what bench list shows.
type benchList struct {
	Benchmarks []benchInfo `json:"benchmarks"`
	// Lacks are the peers' programs that this machine lacks.
	Lacks []string `json:"lacks,omitempty"`
}

func newBenchList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the benchmarks, their aims and the last results",
		Long: `List the benchmarks, and what each aims at beside what it last came to: the results
that are committed in bench/results and shown in docs/benchmarks.md. -o wide shows
comparisons without an aim too, and what each benchmark means.`,
		Example: "  ofctl-lab bench list\n  ofctl-lab bench list -o wide",
		Args:    args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := benchmarks([]string{everyBenchmark})
			if err != nil {
				return err
			}
			last, err := results.Committed()
			if err != nil {
				return fmt.Errorf("the committed results: %w", err)
			}
			l := benchList{Lacks: lackedPeers()}
			for _, b := range all {
				l.Benchmarks = append(l.Benchmarks, describeBenchmark(b, last[b.Name]))
			}
			return a.emit(l, func(t *tables, f format) { printBenchList(t, f, l) })
		},
	}
	addFormatFlag(cmd, "json and yaml have all that is known")
	return cmd
}

// describeBenchmark puts the last result, which may be nil, beside the aims. A comparison whose
// aim has changed since has no result.
func describeBenchmark(b harness.Benchmark, last *harness.Result) benchInfo {
	info := benchInfo{
		Name: b.Name, Title: b.Title, Means: b.Means, Unit: b.Unit, Better: b.Better,
		Rounds: cmp.Or(b.Rounds, harness.DefaultRounds),
	}
	if last != nil {
		info.Last = &lastRun{last.Conditions, last.Scale, last.Environment}
	}
	for _, c := range b.Comparisons {
		c.Better = cmp.Or(c.Better, b.Better)
		compared := comparedInfo{Comparison: c, Claim: c.Claim()}
		if last != nil {
			if i := slices.IndexFunc(last.Comparisons, func(r harness.ComparisonResult) bool { return r.Comparison == c }); i >= 0 {
				compared.Last = &last.Comparisons[i]
				compared.Figure, compared.Words = last.Figure(last.Comparisons[i]), last.Words(last.Comparisons[i])
			}
		}
		info.Comparisons = append(info.Comparisons, compared)
	}
	return info
}

func printBenchList(t *tables, f format, l benchList) {
	var rows, aims [][]string
	for _, b := range l.Benchmarks {
		last := "never"
		if b.Last != nil {
			last = b.Last.Began.UTC().Format("2006-01-02")
		}
		rows = append(rows, []string{b.Name, b.Unit, fmt.Sprint(b.Rounds), last, b.Title})
		for _, c := range b.Comparisons {
			if f == formatWide || c.Aimed() {
				aims = append(aims, []string{b.Name, c.Claim, c.Figure, cmp.Or(c.Words, "never measured")})
			}
		}
	}
	t.table([]string{"BENCHMARK", "UNIT", "ROUNDS", "LAST RUN", "WHAT IS MEASURED"}, rows)
	t.gap()
	heading := "AIM"
	if f == formatWide {
		heading = "COMPARISON"
	}
	t.table([]string{"BENCHMARK", heading, "LAST RESULT", "VERDICT"}, aims)
	if f == formatWide {
		for _, b := range l.Benchmarks {
			t.gap()
			t.line("%s: %s", b.Name, cmp.Or(b.Means, b.Title))
		}
	}
	if len(l.Lacks) > 0 {
		t.gap()
		t.line("This machine lacks %s; a run reports these peers as missing (make bench-deps installs them).", strings.Join(l.Lacks, ", "))
	}
}

// lackedPeers are the peers' programs that this machine lacks, for what can be told without
// setting a benchmark up; a run asks each peer itself.
func lackedPeers() []string {
	var lacks []string
	for _, program := range []string{"ovs-vswitchd", "ovs-ofctl", "ovn-northd", "ovn-controller", "ovs-testcontroller", "osken-manager"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks = append(lacks, program)
		}
	}
	return lacks
}
