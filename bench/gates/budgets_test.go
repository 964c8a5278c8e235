package gates

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const howToUpdate = "if the change is worth it, write the new budgets with `go test ./bench/gates -update` and say why in the commit"

// What a budget leaves above what was measured. Allocations are exact.
const (
	slackInstructions = 1.05
	slackBytes        = 1.02
	// low is the part of a budget below which it is worth lowering.
	low = 0.85
)

// budget is a row of budgets.md: what was measured, and the most there may be.
type budget struct {
	name, per     string
	measured, max counts
}

// newBudget is the budget for what was measured.
func newBudget(g gate, got counts) budget {
	return budget{name: g.name, per: g.per, measured: got, max: counts{
		instructions: math.Ceil(got.instructions * slackInstructions),
		allocations:  got.allocations,
		bytes:        math.Ceil(got.bytes * slackBytes),
	}}
}

// check says what is over the budget, and what is so far below that it can be
// lowered. Instructions that were not counted are neither.
func (b budget) check(got counts) (over, under []string) {
	for _, c := range []struct {
		what     string
		got, max float64
	}{
		{"instructions", got.instructions, b.max.instructions},
		{"allocations", got.allocations, b.max.allocations},
		{"bytes allocated", got.bytes, b.max.bytes},
	} {
		switch {
		case c.got > c.max:
			over = append(over, fmt.Sprintf("%s: %.0f %s per %s, %s over the budget of %.0f; %s",
				b.name, c.got, c.what, b.per, excess(c.got, c.max), c.max, howToUpdate))
		case c.got < c.max*low && (c.what != "instructions" || c.got > 0):
			under = append(under, fmt.Sprintf("%s: %.0f %s, budget %.0f: it can be lowered, with `go test ./bench/gates -update`",
				b.name, c.got, c.what, c.max))
		}
	}
	return over, under
}

// excess is how far got is above most, which may be 0.
func excess(got, most float64) string {
	if most == 0 {
		return fmt.Sprintf("%.0f", got)
	}
	return fmt.Sprintf("%.1f %%", 100*(got/most-1))
}

// document is budgets.md.
func document(budgets []budget) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `# Budgets of the hot paths

Written by `+"`go test ./bench/gates -update`"+` with %s on %s/%s; change it by measuring again only. Each cell is what was measured,
and behind the slash the most that the test allows: %.0f %% more instructions, %.0f %% more bytes, not one allocation more.

| gate | instructions | allocations | bytes allocated | for |
|---|---|---|---|---|
`, runtime.Version(), runtime.GOOS, runtime.GOARCH, 100*(slackInstructions-1), 100*(slackBytes-1))
	for _, r := range budgets {
		fmt.Fprintf(&b, "| %s | %.0f / %.0f | %.0f / %.0f | %.0f / %.0f | %s |\n", r.name,
			r.measured.instructions, r.max.instructions, r.measured.allocations, r.max.allocations, r.measured.bytes, r.max.bytes, r.per)
	}
	return []byte(b.String())
}

// readBudgets reads budgets.md.
func readBudgets(file string) (map[string]budget, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	budgets := map[string]budget{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "/") {
			continue
		}
		b := budget{name: strings.TrimSpace(cells[0]), per: strings.TrimSpace(cells[4])}
		for i, to := range []struct{ measured, max *float64 }{
			{&b.measured.instructions, &b.max.instructions},
			{&b.measured.allocations, &b.max.allocations},
			{&b.measured.bytes, &b.max.bytes},
		} {
			measured, most, _ := strings.Cut(cells[1+i], "/")
			for to, s := range map[*float64]string{to.measured: measured, to.max: most} {
				if *to, err = strconv.ParseFloat(strings.TrimSpace(s), 64); err != nil {
					return nil, fmt.Errorf("%s: row %s: %w", file, b.name, err)
				}
			}
		}
		budgets[b.name] = b
	}
	return budgets, nil
}

func TestBudgetIsExceededByMoreThanItsSlack(t *testing.T) {
	b := newBudget(gate{name: "g", per: "thing"}, counts{instructions: 1000, allocations: 0, bytes: 100})
	for _, c := range []struct {
		name        string
		got         counts
		over, under string
	}{
		{"as measured", counts{1000, 0, 100}, "", ""},
		{"within the slack", counts{1050, 0, 102}, "", ""},
		{"instructions", counts{1156, 0, 100}, "g: 1156 instructions per thing, 10.1 % over the budget of 1050; if", ""},
		{"allocations", counts{1000, 1, 100}, "g: 1 allocations per thing, 1 over the budget of 0; if", ""},
		{"bytes", counts{1000, 0, 103}, "g: 103 bytes allocated per thing, 1.0 % over the budget of 102; if", ""},
		{"much less", counts{800, 0, 100}, "", "g: 800 instructions, budget 1050: it can be lowered"},
		{"instructions not counted", counts{0, 0, 100}, "", ""},
	} {
		over, under := b.check(c.got)
		if got := strings.Join(over, "\n"); !strings.HasPrefix(got, c.over) || (got == "") != (c.over == "") || len(over) > 1 {
			t.Errorf("%s: over: %q, want %q", c.name, got, c.over)
		}
		if got := strings.Join(under, "\n"); !strings.HasPrefix(got, c.under) || (got == "") != (c.under == "") {
			t.Errorf("%s: under: %q, want %q", c.name, got, c.under)
		}
	}
}

func TestBudgetsAreReadAsWritten(t *testing.T) {
	want := newBudget(gate{name: "g", per: "thing"}, counts{1000, 7, 100})
	file := t.TempDir() + "/" + budgetsFile
	if err := os.WriteFile(file, document([]budget{want}), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readBudgets(file)
	if err != nil || len(got) != 1 || got["g"] != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(file, []byte("| g | 1 / x | 0 / 0 | 0 / 0 | thing |\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readBudgets(file); err == nil || !strings.Contains(err.Error(), "row g") {
		t.Errorf("a row that cannot be read: %v", err)
	}
}
