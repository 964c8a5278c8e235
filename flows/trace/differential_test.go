package trace

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

var (
	traces = flag.Int("traces", 4000, "how many packets to compare with ofproto/trace")
	seed   = flag.Uint64("seed", 1, "the first seed; 0 takes the clock")
)

// disagree is what we and the switch say of a packet, when it is not the same.
func (v *vswitch) disagree(s *Switch, p *Packet) (d string, forwarded bool, err error) {
	flow, frame := p.asInput()
	res := s.Trace(p, Options{Conns: []Conn{{State: ConnNew}}})
	if fails(res) {
		v.skipped++
		return "", false, nil
	}
	text, err := v.ctl.Call(v.t.Context(), "ofproto/trace", "br0", flow, frame)
	if err != nil {
		return "", false, err
	}
	if says(res, "cut short") || reread(p, text) {
		v.skipped++
		return "", false, nil
	}
	theirs, err := v.ovsSays(p, text)
	if err != nil {
		return "", false, fmt.Errorf("%w in\n%s", err, text)
	}
	same := slices.Equal[[]string]
	if strings.Contains(text, "set(nd_ext") {
		same = func(a, b []string) bool { return slices.Equal(withoutNDExt(a), withoutNDExt(b)) }
	}
	for _, b := range res.Branches {
		b.Unknown = slices.DeleteFunc(slices.Clone(b.Unknown), func(s string) bool { return strings.HasPrefix(s, "controller(pause)") })
		if len(b.Unknown) == 0 && same(weSay(b), theirs) {
			return "", len(theirs) > 0, nil
		}
	}
	return fmt.Sprintf("packet %s %s\nOpen vSwitch\n  %s\nwe\n  %s\n%v\n%s", flow, frame, counted(theirs),
		counted(weSay(res.Branches[0])), res.Branches[0].Drop, text), false, nil
}

// says reports whether something of that kind is not known.
func says(res Result, what string) bool {
	return slices.ContainsFunc(res.Branches, func(b Branch) bool {
		return slices.ContainsFunc(b.Unknown, func(s string) bool { return strings.Contains(s, what) })
	})
}

// fails reports whether we say that Open vSwitch fails.
func fails(res Result) bool {
	return says(res, "Open vSwitch aborts") || says(res, "Open vSwitch writes over the wrong bytes")
}

// reread reports whether a packet comes back from a recirculation as another than it went:
// its frame is read anew, and its tunnel is the one it came by, when tunnel ports ask for
// that. The datapath does so, and we; ofproto/trace does not, and what was without its
// labels it does not follow at all.
func reread(p *Packet, text string) bool {
	_, behind, recirculated := strings.Cut(text, "- resume")
	if strings.Count(text, "recirc(0x") > 2*strings.Count(text, "- resume") { // each is resumed under a line that names it
		return true
	}
	return recirculated && (strings.Contains(text, "push_vlan(") || strings.Contains(text, "_mpls(") || p.fields[flows.IPProto].IsZero() ||
		strings.Contains(behind, "tunnel\n") || strings.Contains(behind, "Not tunneling"))
}

// counted is a sorted list with equal lines as one.
func counted(lines []string) string {
	var out []string
	for i := 0; i < len(lines); {
		n := 1
		for i+n < len(lines) && lines[i+n] == lines[i] {
			n++
		}
		out = append(out, fmt.Sprintf("%d × %s", n, lines[i]))
		i += n
	}
	return strings.Join(out, "\n  ")
}

// firstSeed is the seed that was asked for, or one of the clock.
func firstSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return uint64(time.Now().UnixNano())
}

// compare compares what becomes of each packet of a case. It returns how many were
// forwarded.
func (v *vswitch) compare(c *testCase, seed uint64) (forwarded int) {
	v.t.Helper()
	if err := v.load(c); err != nil {
		v.t.Fatalf("seed %d: %v", seed, err)
	}
	s, err := c.newSwitch(v.version)
	if err != nil {
		v.t.Fatal(err)
	}
	for i, p := range c.packets {
		d, sent, err := v.disagree(s, p)
		if err != nil {
			v.t.Fatalf("seed %d packet %d: %v", seed, i, err)
		}
		if sent {
			forwarded++
		}
		if d != "" {
			v.t.Logf("seed %d, packet %d: %s", seed, i, d)
			v.keep(c, p)
			v.t.FailNow()
		}
	}
	return forwarded
}

// TestAgainstOpenVSwitch compares what becomes of random packets in random states
// with what ofproto/trace of a real Open vSwitch says. To compare more of them, or the
// same as before: go test -traces 100000 -seed N.
func TestAgainstOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	first := firstSeed()
	const perState = 400
	sent := 0
	for n := uint64(0); n*perState < uint64(*traces); n++ {
		sent += v.compare(newGen(first+n).testCase(40, perState), first+n)
	}
	if sent < *traces/10 || v.skipped > *traces/4 {
		t.Errorf("of %d packets %d were forwarded and %d not compared: the comparison is of little", *traces, sent, v.skipped)
	}
	t.Logf("from seed %d on: of %d packets %d were forwarded, and %d are left to the test with real frames", first, *traces, sent, v.skipped)
}
