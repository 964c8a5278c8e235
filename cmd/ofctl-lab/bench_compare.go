package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/results"
)

// benchDifference is what changed between two sets of results.
type benchDifference struct {
	Benchmarks []*harness.Difference `json:"benchmarks"`
	// Unpaired are the benchmarks that only one of the sets has, and which.
	Unpaired []string `json:"unpaired,omitempty"`
}

func newBenchCompare(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Say what changed between two results",
		Long: `Say what changed between two results: files that bench run --out wrote, or
directories of them. Each peer is taken relative to a limit or a rival of its own run, so
that a machine that was slower that day does not count.

Exit status: 0 nothing of ours got clearly worse, 3 something did, 1 a file cannot be
read or the results cannot be compared.`,
		Example: `  ofctl-lab bench compare before after
  ofctl-lab bench compare before/flows-per-port.json after/flows-per-port.json -o json`,
		Args: args(2, 2, "OLD and NEW"),
		ValidArgsFunction: func(_ *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(have) < 2 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			before, err := readResults(args[0])
			if err != nil {
				return err
			}
			after, err := readResults(args[1])
			if err != nil {
				return err
			}
			d, incomparable := compareResults(before, after)
			if err := a.emit(d, func(t *tables, _ format) { printBenchDifference(t, d) }); err != nil {
				return err
			}
			if incomparable != nil {
				return incomparable
			}
			if slices.ContainsFunc(d.Benchmarks, (*harness.Difference).Worse) {
				return statusError{status: exitDiffer}
			}
			return nil
		},
	}
	addFormatFlag(cmd, "json and yaml have all numbers")
	return cmd
}

// readResults reads a file with a result, or a directory of them, by the names of the benchmarks.
func readResults(path string) (map[string]*harness.Result, error) {
	// Opening a pipe that nobody writes to would last for ever. One that a shell has
	// opened (/dev/fd/N) is a link.
	if node, err := os.Lstat(path); err == nil && node.Mode()&(os.ModeNamedPipe|os.ModeSocket|os.ModeDevice) != 0 {
		return nil, fmt.Errorf("%s is neither a file nor a directory", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		res, err := harness.ReadResult(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return map[string]*harness.Result{res.Benchmark: res}, nil
	}
	found, err := results.Read(os.DirFS(path))
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", path, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no results: ofctl-lab bench run NAME --out %s writes some", path, path)
	}
	return found, nil
}

// compareResults compares what both have; the error is of what cannot be compared, and of results
// that have no benchmark in common.
func compareResults(before, after map[string]*harness.Result) (*benchDifference, error) {
	d := &benchDifference{Benchmarks: []*harness.Difference{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if before[name] == nil {
			d.Unpaired = append(d.Unpaired, name+": only in the new results")
			continue
		}
		diff, err := harness.Compare(before[name], after[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.Benchmarks = append(d.Benchmarks, diff)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] == nil {
			d.Unpaired = append(d.Unpaired, name+": only in the old results")
		}
	}
	if len(errs) == 0 && len(d.Benchmarks) == 0 {
		errs = append(errs, fmt.Errorf("no benchmark is in both: the old results are of %s, the new ones of %s", benchmarkNames(before), benchmarkNames(after)))
	}
	return d, errors.Join(errs...)
}

func benchmarkNames(m map[string]*harness.Result) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

func printBenchDifference(t *tables, d *benchDifference) {
	for _, diff := range d.Benchmarks {
		t.note(diff.WriteText(t.w))
	}
	for _, u := range d.Unpaired {
		t.line("%s", u)
	}
}
