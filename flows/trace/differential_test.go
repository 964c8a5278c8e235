package trace

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

var (
	traces = flag.Int("traces", 4000, "how many packets to compare with ofproto/trace")
	seed   = flag.Uint64("seed", 0, "the first seed; 0 takes the clock")
)

// disagree is what we and the switch say of a packet, when it is not the same.
func (v *vswitch) disagree(s *Switch, p *Packet) (string, error) {
	flow, frame := p.asInput()
	text, err := v.ctl.Call(v.t.Context(), "ofproto/trace", "br0", flow, frame)
	if err != nil {
		return "", err
	}
	res := s.Trace(p, Options{Conns: []Conn{{State: ConnNew}}})
	if reread(p, text) {
		return "", nil
	}
	theirs, err := v.ovsSays(p, text)
	if err != nil {
		return "", fmt.Errorf("%w in\n%s", err, text)
	}
	same := slices.Equal[[]string]
	if strings.Contains(text, "set(nd_ext") {
		same = func(a, b []string) bool { return slices.Equal(withoutNDExt(a), withoutNDExt(b)) }
	}
	for _, b := range res.Branches {
		if len(b.Unknown) == 0 && same(weSay(b), theirs) {
			return "", nil
		}
	}
	return fmt.Sprintf("packet %s %s\nOpen vSwitch\n  %s\nwe\n  %s\n%v\n%s", flow, frame, counted(theirs),
		counted(weSay(res.Branches[0])), res.Branches[0].Drop, text), nil
}

// reread reports whether a packet is read anew behind the connection tracker and then
// has other fields than before. The datapath does so, and we; ofproto/trace does not.
func reread(p *Packet, text string) bool {
	return strings.Contains(text, "recirc(") && (strings.Contains(text, "push_vlan(") || p.fields[flows.IPProto].IsZero())
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

// TestAgainstOpenVSwitch compares what becomes of random packets in random states
// with what ofproto/trace of a real Open vSwitch says.
func TestAgainstOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	const perState = 400
	bad := 0
	for n := uint64(0); n*perState < uint64(*traces); n++ {
		g := newGen(first + n)
		c := g.testCase(40, perState)
		if err := v.load(c); err != nil {
			t.Fatalf("seed %d: %v", first+n, err)
		}
		s, err := c.newSwitch()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range c.packets {
			d, err := v.disagree(s, p)
			if err != nil {
				t.Fatalf("seed %d packet %d: %v", first+n, i, err)
			}
			if d != "" {
				t.Errorf("seed %d, packet %d: %s", first+n, i, d)
				if bad++; bad > 3 {
					t.Fatal("enough")
				}
				break
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%d packets from seed %d on\n", *traces, first)
}
