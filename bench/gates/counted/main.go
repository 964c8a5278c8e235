// Command counted does one piece of work a number of times, for package gates to
// count what it takes: valgrind counts the instructions, the program itself its
// allocations, which it writes to standard output as one line of JSON:
//
//	{"allocations":12.5,"bytes":2048}
//
// Both are per time that the work was done, after a few times that are not
// counted. There is no garbage collection, which would count for whatever happens
// to run. Exit codes: 0 done, 1 failed, 2 usage.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
)

// work is something to count. It is prepared by start, which returns what does it
// n times.
type work struct {
	name  string
	start func(ctx context.Context) (do func(n int) error, err error)
}

func works() []work {
	return []work{
		{"flow-encode", encodeFlows},
		{"flow-commit", func(ctx context.Context) (func(int) error, error) { return commitFlows(ctx, plain) }},
		{"flow-commit-bundle", func(ctx context.Context) (func(int) error, error) { return commitFlows(ctx, bundle) }},
		{"packet-in", answerPacketIns},
		{"plug-10", func(context.Context) (func(int) error, error) { return plugPort(10) }},
		{"plug-500", func(context.Context) (func(int) error, error) { return plugPort(500) }},
	}
}

func main() {
	name := flag.String("work", "", "`name` of the work")
	n := flag.Int("n", 1, "how often to do it")
	flag.Parse()
	for _, w := range works() {
		if w.name != *name || *n < 1 || flag.NArg() > 0 {
			continue
		}
		if err := run(context.Background(), w, *n); err != nil {
			fmt.Fprintf(os.Stderr, "counted: %s: %v\n", w.name, err)
			os.Exit(1)
		}
		return
	}
	flag.Usage()
	os.Exit(2)
}

// warmUp is how often the work is done beforehand: buffers come into use, maps
// and stacks grow to their size.
const warmUp = 3

func run(ctx context.Context, w work, n int) error {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(1)
	do, err := w.start(ctx)
	if err != nil {
		return err
	}
	if err := do(warmUp); err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := do(n); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	return json.NewEncoder(os.Stdout).Encode(struct {
		Allocations float64 `json:"allocations"`
		Bytes       float64 `json:"bytes"`
	}{
		float64(after.Mallocs-before.Mallocs) / float64(n),
		float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
	})
}
