// Command bench measures the project against its peers (package figures) and
// writes tables, or JSON, to standard output. It needs root, Open vSwitch and the source tree.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/suite"
)

func main() {
	figure := flag.String("figure", "all", "`name` of the figure, or all; list says which there are")
	rounds := flag.Int("rounds", 0, "samples of each peer (0: the figure's usual number)")
	scale := flag.Int("scale", 0, "size of the workload (0: the figure's usual one)")
	output := flag.String("o", "table", "table or json")
	flag.Parse()

	var chosen []harness.Benchmark
	for _, f := range suite.All() {
		if *figure == "list" {
			fmt.Printf("%s\t%s (%s)\n", f.Name, f.Title, f.Unit)
		}
		if *figure == "all" || *figure == f.Name {
			chosen = append(chosen, f)
		}
	}
	if *figure == "list" {
		return
	}
	if len(chosen) == 0 || flag.NArg() > 0 || *rounds < 0 || !slices.Contains([]string{"table", "json"}, *output) {
		fmt.Fprintln(os.Stderr, "bench: no such figure or option; -figure list shows the figures")
		flag.Usage()
		os.Exit(2)
	}

	inside, code, err := bridge.Isolate()
	if err == nil && !inside {
		os.Exit(code)
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, os.Stdout, chosen, *output, harness.Options{Rounds: *rounds, Size: harness.Size{Scale: *scale}, Progress: harness.NewLive(os.Stderr, harness.Auto).Show})
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the figures one after the other. JSON is one document, a list.
func run(ctx context.Context, w io.Writer, figs []harness.Benchmark, output string, opt harness.Options) error {
	var results []*harness.Result
	for _, f := range figs {
		res, err := harness.Measure(ctx, f, opt)
		if err != nil {
			return err
		}
		results = append(results, res)
		if output == "table" {
			if err := res.WriteText(w); err != nil {
				return err
			}
		}
	}
	if output == "table" {
		return nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(results)
}
