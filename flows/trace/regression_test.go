package trace

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// keep makes a case on which we and the switch disagree as small as it gets and writes it
// to testdata, from where it is run for ever after.
func (v *vswitch) keep(c *testCase, p *Packet) {
	v.t.Helper()
	c = v.minimise(c, p)
	text := c.text(p)
	name := filepath.Join("testdata", fmt.Sprintf("found-%08x.txt", hashOf(p.Match())>>32))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		v.t.Fatal(err)
	}
	d, _, _ := v.disagreeOn(c, p)
	v.t.Errorf("the smallest such case is in %s:\n%s\n%s", name, text, d)
}

// disagreeOn loads a case first.
func (v *vswitch) disagreeOn(c *testCase, p *Packet) (string, bool, error) {
	s, err := c.newSwitch(v.version)
	if err != nil {
		return "", false, err
	}
	if err := v.load(c); err != nil {
		return "", false, err
	}
	return v.disagree(s, p)
}

// minimise takes out flows, groups and actions as long as we still disagree, many at
// a time while that goes well.
func (v *vswitch) minimise(c *testCase, p *Packet) *testCase {
	for again := true; again; {
		again = false
		for _, part := range parts {
			for n := part.count(c); n > 0; n /= 2 {
				for from := 0; from+n <= part.count(c); {
					smaller := part.without(c, from, from+n)
					if d, _, err := v.disagreeOn(smaller, p); err == nil && d != "" {
						c, again = smaller, true
					} else {
						from += n
					}
				}
			}
		}
	}
	return c
}

// parts are what a case is made of, and can be made without.
var parts = []struct {
	count   func(*testCase) int
	without func(c *testCase, from, to int) *testCase
}{
	{func(c *testCase) int { return len(c.flows) }, func(c *testCase, from, to int) *testCase {
		return &testCase{also: c.also, flows: slices.Delete(slices.Clone(c.flows), from, to), groups: c.groups}
	}},
	{func(c *testCase) int { return len(c.groups) }, func(c *testCase, from, to int) *testCase {
		return &testCase{also: c.also, flows: c.flows, groups: slices.Delete(slices.Clone(c.groups), from, to)}
	}},
	{(*testCase).countActions, (*testCase).withoutActions},
}

func (c *testCase) countActions() int {
	n := 0
	for _, f := range c.flows {
		n += len(f.Apply) + len(f.Write)
	}
	return n
}

// withoutActions is the case without the actions from … to-1, counted over all flows.
func (c *testCase) withoutActions(from, to int) *testCase {
	out := &testCase{also: c.also, groups: c.groups}
	i := 0
	keep := func(as []flows.Action) (kept []flows.Action) {
		for _, a := range as {
			if i < from || i >= to {
				kept = append(kept, a)
			}
			i++
		}
		return kept
	}
	for _, f := range c.flows {
		g := *f
		g.Apply, g.Write = keep(f.Apply), keep(f.Write)
		out.flows = append(out.flows, &g)
	}
	return out
}

func (c *testCase) text(p *Packet) string {
	var b strings.Builder
	for _, p := range c.also {
		fmt.Fprintf(&b, "port %d\n", p.Number)
	}
	for _, f := range c.flows {
		fmt.Fprintf(&b, "flow %s\n", f)
	}
	for _, g := range c.groups {
		fmt.Fprintf(&b, "group %s\n", g)
	}
	in, frame := p.asInput()
	fmt.Fprintf(&b, "packet %s %s\n", in, frame)
	return b.String()
}

func readCase(t testing.TB, text string) (*testCase, *Packet) {
	t.Helper()
	c := &testCase{}
	var p *Packet
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch kind {
		case "port":
			var n uint64
			n, err = strconv.ParseUint(rest, 10, 32)
			c.also = append(c.also, guestPort(uint32(n)))
		case "flow":
			var f *flows.Flow
			f, err = flows.ParseFlow(rest)
			c.flows = append(c.flows, f)
		case "group":
			var g *flows.Group
			g, err = flows.ParseGroup(rest)
			c.groups = append(c.groups, g)
		case "packet":
			in, frame, _ := strings.Cut(rest, " ")
			var b []byte
			if b, err = hex.DecodeString(frame); err != nil {
				break
			}
			var f *flows.Flow
			if f, err = flows.ParseFlow(in + " actions=drop"); err != nil {
				break
			}
			p = packet(t, 0, b)
			for _, e := range f.Match {
				p.put(e.Field, e.Value)
			}
		case "", "#":
		default:
			t.Fatalf("line %q", line)
		}
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
	}
	return c, p
}

// TestRegressions runs what we and Open vSwitch once disagreed on.
func TestRegressions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases in testdata: ", err)
	}
	v := startVswitch(t)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, p := readCase(t, string(text))
			d, _, err := v.disagreeOn(c, p)
			if err != nil {
				t.Fatal(err)
			}
			if d != "" {
				t.Error(d)
			}
		})
	}
}
