package trace

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/pcapgo"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

var framesSent = flag.Int("frames", 1200, "how many real frames to send through Open vSwitch")

// capture is what leaves by the ports of guests, as Open vSwitch writes it to a file
// for each.
type capture struct {
	v       *vswitch
	readers map[uint32]*pcapgo.Reader
}

func (v *vswitch) capture() *capture { return &capture{v, map[uint32]*pcapgo.Reader{}} }

// open opens the files of ports that are new.
func (c *capture) open() {
	for n, name := range c.v.ports {
		if c.readers[n] != nil || isTunnelPort(n) {
			continue
		}
		f, err := os.Open(filepath.Join(c.v.dir, name+".pcap"))
		if err != nil {
			c.v.t.Fatal(err)
		}
		c.v.t.Cleanup(func() { f.Close() })
		if c.readers[n], err = pcapgo.NewReader(f); err != nil {
			c.v.t.Fatal(err)
		}
	}
}

// next are the frames that have left since the last time.
func (c *capture) next() []string {
	c.v.t.Helper()
	var outs []string
	for n, r := range c.readers {
		for {
			frame, _, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				c.v.t.Fatal(err)
			}
			outs = append(outs, fmt.Sprintf("%d  %x", n, frame))
		}
	}
	slices.Sort(outs)
	return outs
}

// frame sends a guest's real frame through the datapath, and compares what leaves by
// ports of guests with what we say. It returns how many copies left.
func (c *capture) frame(s *Switch, p *Packet) (left int, disagree string) {
	c.v.t.Helper()
	c.open()
	c.v.call("netdev-dummy/receive", c.v.ports[p.InPort()], hex.EncodeToString(p.frame))
	var ours [][]string // of each branch
	most := 0
	for _, b := range s.Trace(p, Options{}).Branches {
		outs := slices.DeleteFunc(weSay(b), func(o string) bool {
			port, rest, _ := strings.Cut(o, " ")
			return !strings.HasPrefix(rest, " ") || port == fmt.Sprint(flows.PortLocal)
		})
		ours = append(ours, outs)
		most = max(most, len(outs))
	}
	// The switch does all it has to do with a frame in one of the next turns
	// of the loop that also answers commands.
	var theirs []string
	for turn := 0; turn < 3 || turn < 1000 && len(theirs) < most; turn++ {
		c.v.call("version")
		theirs = append(theirs, c.next()...)
	}
	slices.Sort(theirs)
	if !slices.ContainsFunc(ours, func(o []string) bool { return slices.Equal(o, theirs) }) {
		disagree = fmt.Sprintf("in_port=%d %x\nOpen vSwitch\n  %s\nwe\n  %s", p.InPort(), p.frame, counted(theirs), counted(ours[0]))
	}
	return len(theirs), disagree
}

// TestFramesAreThoseOfOpenVSwitch sends real frames through the userspace datapath, and
// compares what leaves with what we say, byte for byte: checksums, tags, everything.
func TestFramesAreThoseOfOpenVSwitch(t *testing.T) {
	v := startVswitch(t)
	c := v.capture()
	first := firstSeed()
	const perState = 60
	bad, sent := 0, 0
	for n := uint64(0); n*perState < uint64(*framesSent); n++ {
		g := newGen(first + n)
		g.selects = g.oneIn(2)
		tc := g.testCase(40, perState)
		tc.withoutHazard(false)
		if err := v.load(tc); err != nil {
			t.Fatal(err)
		}
		// What the datapath remembers of the state before must not be used any more.
		v.call("revalidator/purge")
		s, err := tc.newSwitch()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range tc.packets {
			if p.InPort() > 4 {
				continue
			}
			left, d := c.frame(s, p)
			sent += left
			if d != "" {
				t.Errorf("seed %d, packet %d: %s", first+n, i, d)
				if bad++; bad == 4 {
					t.FailNow()
				}
			}
		}
	}
	t.Logf("from seed %d on: %d copies left", first, sent)
}
