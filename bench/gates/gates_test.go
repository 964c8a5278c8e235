package gates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/datapath/need"
)

var update = flag.Bool("update", false, "measure, and write budgets.md")

const budgetsFile = "budgets.md"

// gate is a work of package counted.
type gate struct {
	name string
	per  string // what one time of the work is, in words
	// times is how often it is done under valgrind: enough for some forty
	// million instructions, beside which those of the runtime's own monitor do not count.
	times int
}

func gates() []gate {
	return []gate{
		{"flow-encode", "1,000 flows encoded (`ofp13.AppendOp`)", 25},
		{"flow-commit", "1,000 flows in one plain step (`openflow.Conn.Commit`)", 25},
		{"flow-commit-bundle", "1,000 flows in one atomic step", 20},
		{"packet-in", "32 packet-ins in flight, each read, decoded, handed over and answered (`openflow.Conn.PacketOut`)", 150},
		{"plug-10", "a port appears among 10 (`pipeline.Recompile`, `flows.Diff`)", 400},
		{"plug-500", "a port appears among 500", 40},
	}
}

// TestBudgets counts, and compares with the budgets.
func TestBudgets(t *testing.T) {
	t.Setenv("GOFLAGS", "") // what is counted must not depend on how this test is compiled
	t.Setenv("GOAMD64", "v1")
	program := filepath.Join(t.TempDir(), "counted")
	if err := build.Program(t.Context(), "bench/gates/counted", program); err != nil {
		t.Fatal(err)
	}
	budgets, err := readBudgets(budgetsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var measured []budget
	for _, g := range gates() {
		t.Run(g.name, func(t *testing.T) {
			got, lack, err := count(t.Context(), program, g)
			if err != nil {
				t.Fatal(err)
			}
			measured = append(measured, newBudget(g, got))
			if *update {
				if lack != nil {
					t.Errorf("%s is not written without instructions: %v", budgetsFile, lack)
				}
				return
			}
			b, ok := budgets[g.name]
			if !ok {
				t.Fatalf("%s has no row %s; %s", budgetsFile, g.name, howToUpdate)
			}
			over, under := b.check(got)
			for _, line := range over {
				t.Error(line)
			}
			for _, line := range under {
				t.Log(line)
			}
			need.Have(t, lack) // the rest has been judged
		})
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(budgetsFile, document(measured), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// count is what one time of the work takes. lack is why instructions are not counted.
func count(ctx context.Context, program string, g gate) (got counts, lack, err error) {
	if got, err = allocations(ctx, program, g); err != nil {
		return got, nil, err
	}
	if lack := lacksInstructions(); lack != nil {
		return got, lack, nil
	}
	got.instructions, err = instructions(ctx, program, g)
	if errors.Is(err, errUnknownInstruction) {
		return got, need.OfMachine(err), nil
	}
	return got, nil, err
}

// lacksInstructions is why instructions cannot be counted here, nil if they can be tried.
func lacksInstructions() error {
	if runtime.GOARCH != "amd64" {
		return need.OfMachine(errors.New("amd64, which the budgets are of; this is " + runtime.GOARCH))
	}
	return need.Programs("bench-deps", "valgrind")
}

// counts are what one time of a work takes.
type counts struct {
	instructions float64 // 0 where not counted
	allocations  float64
	bytes        float64 // allocated
}

// allocations runs the program, which counts them itself, a few times and takes the
// least: what the runtime allocates for itself, when a busy machine makes it start
// another thread, only adds.
func allocations(ctx context.Context, program string, g gate) (counts, error) {
	least := counts{allocations: math.Inf(1), bytes: math.Inf(1)}
	for range 3 {
		out, err := output(exec.CommandContext(ctx, program, "-work", g.name, "-n", strconv.Itoa(g.times)))
		if err != nil {
			return counts{}, err
		}
		var res struct{ Allocations, Bytes float64 }
		if err := json.Unmarshal(out, &res); err != nil {
			return counts{}, fmt.Errorf("%s wrote %q: %w", program, out, err)
		}
		least.allocations = min(least.allocations, math.Floor(res.Allocations))
		least.bytes = min(least.bytes, math.Floor(res.Bytes))
	}
	return least, nil
}

// instructions runs the program under valgrind twice, the second time with twice
// the work: what the second takes more is the work's own, without start and end.
func instructions(ctx context.Context, program string, g gate) (float64, error) {
	once, err := callgrind(ctx, program, g.name, g.times)
	if err != nil {
		return 0, err
	}
	twice, err := callgrind(ctx, program, g.name, 2*g.times)
	if err != nil {
		return 0, err
	}
	return float64(twice-once) / float64(g.times), nil
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

// errUnknownInstruction says that valgrind does not know an instruction which the program has
// because the CPU does.
var errUnknownInstruction = errors.New("a valgrind that knows this CPU's instructions")

// unknown is what valgrind writes of such an instruction, or the program, which then dies of
// SIGILL. Without valgrind it has just run, so that it has none that the CPU lacks.
var unknown = regexp.MustCompile(`(?m)^.*(?:unhandled instruction bytes|Unrecognised instruction|SIGILL).*$`)

// callgrind is how many instructions a run of the program takes in all.
func callgrind(ctx context.Context, program, work string, times int) (int64, error) {
	cmd := exec.CommandContext(ctx, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
		program, "-work", work, "-n", strconv.Itoa(times))
	// Without preemption, which depends on the time, and whatever GODEBUG there is.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1", "GOGC=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if _, err := output(cmd); err != nil {
		if line := unknown.Find(stderr.Bytes()); line != nil {
			return 0, fmt.Errorf("%w; it says: %s", errUnknownInstruction, line)
		}
		return 0, err
	}
	m := collected.FindSubmatch(stderr.Bytes())
	if m == nil {
		return 0, fmt.Errorf("valgrind does not say what it collected: %s", &stderr)
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// output is Output with what the program wrote about its failure.
func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	var text []byte
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		text = exit.Stderr
	}
	if b, ok := cmd.Stderr.(*bytes.Buffer); ok {
		text = b.Bytes()
	}
	return nil, fmt.Errorf("%v: %w: %s", cmd.Args, err, bytes.TrimSpace(text))
}
