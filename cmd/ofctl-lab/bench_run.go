package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/bench/bridge"
	"github.com/ofctl-lab/ofctl-lab/bench/harness"
	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// benchRun is what bench run was asked for.
type benchRun struct {
	chosen  []harness.Benchmark
	options harness.Options
	// out is the directory for the results; empty for none.
	out string
	// peers is a regular expression of the peers to run; empty for all.
	peers string
	// requirePeers makes a peer that is missing a failure.
	requirePeers bool
}

func newBenchRun(a *app) *cobra.Command {
	var r benchRun
	cmd := &cobra.Command{
		Use:   "run NAME...",
		Short: "Run benchmarks, or all of them, beside their peers",
		Long: `Run benchmarks beside their peers, in a network namespace of their own that leaves
nothing behind; all stands for every benchmark. Progress goes to standard error, the
tables, or JSON, to standard output, and where we lose is said at the end. A peer that
this machine lacks is reported as missing. It needs root and Open vSwitch, and the
source tree for the peers that are built from it.

With --out, each benchmark that completes writes NAME.json and NAME.svg there, whatever
becomes of the others. An interrupt cleans up and keeps what is complete.

Exit status: 0 also when an aim is missed or a rival is better, 1 when a benchmark fails
or is interrupted.`,
		Example: `  ofctl-lab bench run flows-per-port --smallest --out before
  ofctl-lab bench run flows-per-port --scale 5 --out after -o json`,
		Args:              args(1, -1, "the names of benchmarks, or all (bench list shows them)"),
		ValidArgsFunction: completeBenchmarks,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := r.check(names); err != nil {
				return err
			}
			inside, code, err := bridge.Isolate()
			if err != nil || !inside {
				return ended(code, err)
			}
			if err := overlay.Sweep(cmd.Context()); err != nil {
				return err
			}
			return a.runBenchmarks(cmd.Context(), r)
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&r.options.Rounds, "rounds", 0, "samples of each peer (default: the benchmark's own, see bench list)")
	fl.IntVar(&r.options.Size.Scale, "scale", 0, "size of the workload, in the benchmark's own unit (default: its usual one)")
	fl.BoolVar(&r.options.Size.Smallest, "smallest", false, "only see that everything runs: the least work, one round unless --rounds is given")
	fl.StringVar(&r.out, "out", "", "directory to write results to")
	fl.StringVar(&r.peers, "peers", "", "run only the peers whose names match this regular expression (default: all)")
	fl.BoolVar(&r.requirePeers, "require-peers", false, "fail when a peer is missing")
	addFormatFlag(cmd, "json and yaml are a list of results, as in the files of --out")
	return cmd
}

// check refuses what cannot be meant, and what could not be written in the end.
func (r *benchRun) check(names []string) error {
	var err error
	if r.chosen, err = benchmarks(names); err != nil {
		return err
	}
	switch o := r.options; {
	case o.Rounds < 0:
		return usagef("--rounds %d is negative", o.Rounds)
	case o.Rounds > harness.MaxRounds:
		return usagef("--rounds %d is too many: at most %d", o.Rounds, harness.MaxRounds)
	case o.Size.Scale < 0:
		return usagef("--scale %d is negative", o.Size.Scale)
	case o.Size.Scale > 0 && o.Size.Smallest:
		return usagef("--scale and --smallest exclude each other")
	case o.Size.Scale > 0 && len(r.chosen) > 1:
		return usagef("--scale means something else to each benchmark: give it with one of them")
	}
	if r.peers != "" {
		if r.options.Size.Only, err = regexp.Compile(r.peers); err != nil {
			return usagef("--peers: %v", err)
		}
		if r.requirePeers {
			return usagef("--peers and --require-peers exclude each other")
		}
	}
	if r.out == "" {
		return nil
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	probe, err := os.CreateTemp(r.out, ".bench-*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// ended is the end of a run that was another process, which has said itself what went wrong.
func ended(code int, err error) error {
	if err != nil || code == exitOK {
		return err
	}
	return statusError{status: code}
}

// runBenchmarks runs one after the other. One that fails does not keep the others from running, and
// the error is that of all.
func (a *app) runBenchmarks(ctx context.Context, r benchRun) error {
	if version != unknownVersion { // else the harness records what the Go tools know
		r.options.Version = version
	}
	r.options.Progress = harness.NewLive(a.err, harness.Auto).Show
	f, err := a.format()
	if err != nil {
		return err
	}
	measured := []*harness.Result{}
	var failed []error
	complete := 0
	for _, b := range r.chosen {
		res, err := harness.Measure(ctx, b, r.options)
		if res != nil && slices.ContainsFunc(res.Peers, func(p harness.PeerResult) bool { return p.Measured() }) {
			measured = append(measured, res)
			if f == formatTable || f == formatWide {
				failed = append(failed, res.WriteText(a.out))
			}
		}
		if err == nil {
			err = r.keep(res)
			complete++
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			failed = append(failed, fmt.Errorf("interrupted: %d of %d benchmarks are complete", complete, len(r.chosen)))
			break
		}
	}
	failed = append(failed, a.emit(measured, func(t *tables, _ format) {
		if len(measured) > 0 {
			t.note(harness.WriteSummary(t.w, measured))
		}
	}))
	return errors.Join(failed...)
}

// keep writes the result of a benchmark that is complete, and judges its peers.
func (r *benchRun) keep(res *harness.Result) error {
	var errs []error
	if r.out != "" {
		base := filepath.Join(r.out, res.Benchmark)
		errs = append(errs, writeWhole(wholeFile{base + ".json", res.WriteJSON}, wholeFile{base + ".svg", res.WriteSVG}))
	}
	if r.requirePeers {
		for _, p := range res.MissingPeers() {
			errs = append(errs, fmt.Errorf("benchmark %s: peer %s is missing: %s", res.Benchmark, p.Name, p.Missing))
		}
	}
	return errors.Join(errs...)
}

// wholeFile is a file that is whole or not there.
type wholeFile struct {
	path  string
	write func(io.Writer) error
}

// writeWhole writes files that belong together: older ones stay until all new ones are complete.
func writeWhole(files ...wholeFile) error {
	var written []string
	var err error
	for _, f := range files {
		var tmp string
		if tmp, err = f.writeTemp(); err != nil {
			break
		}
		written = append(written, tmp)
	}
	for i, tmp := range written {
		if err == nil {
			err = os.Rename(tmp, files[i].path)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}
	return err
}

// writeTemp writes the content beside the file, under a name that it returns.
func (f wholeFile) writeTemp() (name string, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(f.path), ".bench-*")
	if err == nil {
		if err = errors.Join(f.write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", f.path, err)
	}
	return tmp.Name(), nil
}
