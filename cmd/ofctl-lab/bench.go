package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/suite"
)

func newBench(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this project beside its peers",
		Long: `Measure this project beside its peers: other programs and designs that do the same
work, and a limit that shows what the machine could do at best. All take turns in one
run, so that what is compared has met the same machine. docs/benchmarks.md has the last
results and says how to read them.`,
	}
	group(cmd)
	cmd.AddCommand(newBenchList(a), newBenchRun(a), newBenchCompare(a))
	return cmd
}

// everyBenchmark is the name that stands for all benchmarks.
const everyBenchmark = "all"

// benchmarks are those with these names, each once, in the order of the suite.
func benchmarks(names []string) ([]harness.Benchmark, error) {
	all := suite.All()
	var known []string // without all: it is none of them, and would be counted
	for _, b := range all {
		known = append(known, b.Name)
	}
	for _, n := range names {
		if n != everyBenchmark && !slices.Contains(known, n) {
			return nil, usagef("there is no benchmark %q; %s", n, meant(n, known))
		}
	}
	if slices.Contains(names, everyBenchmark) {
		return all, nil
	}
	return slices.DeleteFunc(all, func(b harness.Benchmark) bool { return !slices.Contains(names, b.Name) }), nil
}

// completeBenchmarks completes the names of benchmarks that are not there yet.
func completeBenchmarks(_ *cobra.Command, have []string, _ string) ([]string, cobra.ShellCompDirective) {
	names := []string{everyBenchmark}
	for _, b := range suite.All() {
		names = append(names, b.Name)
	}
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(have, n) }), cobra.ShellCompDirectiveNoFileComp
}
