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
)

var framesSent = flag.Int("frames", 1200, "how many real frames to send through Open vSwitch")

// capture is what leaves by the ports p1 … p4, as Open vSwitch writes it to a file.
type capture struct {
	files   []*os.File
	readers []*pcapgo.Reader
}

func (v *vswitch) capture() *capture {
	c := &capture{}
	for n := 1; n <= 4; n++ {
		f, err := os.Open(filepath.Join(v.dir, fmt.Sprintf("p%d.pcap", n)))
		if err != nil {
			v.t.Fatal(err)
		}
		v.t.Cleanup(func() { f.Close() })
		r, err := pcapgo.NewReader(f)
		if err != nil {
			v.t.Fatal(err)
		}
		c.files, c.readers = append(c.files, f), append(c.readers, r)
	}
	return c
}

// next are the frames that have left since the last time.
func (c *capture) next(t testing.TB) []string {
	t.Helper()
	var outs []string
	for i, r := range c.readers {
		for {
			frame, _, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			outs = append(outs, fmt.Sprintf("%d  %x", i+1, frame))
		}
	}
	slices.Sort(outs)
	return outs
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
			v.call("netdev-dummy/receive", fmt.Sprintf("p%d", p.InPort()), hex.EncodeToString(p.frame))
			var ours [][]string // of each branch
			most := 0
			for _, b := range s.Trace(p, Options{}).Branches {
				outs := slices.DeleteFunc(weSay(b), func(o string) bool { return strings.Index(o, "  ") != 1 })
				ours = append(ours, outs)
				most = max(most, len(outs))
			}
			// The switch does all it has to do with a frame in one of the next turns
			// of the loop that also answers commands.
			var theirs []string
			for turn := 0; turn < 3 || turn < 1000 && len(theirs) < most; turn++ {
				v.call("version")
				theirs = append(theirs, c.next(t)...)
			}
			slices.Sort(theirs)
			sent += len(theirs)
			if !slices.ContainsFunc(ours, func(o []string) bool { return slices.Equal(o, theirs) }) {
				t.Errorf("seed %d, packet %d: in_port=%d %x\nOpen vSwitch\n  %s\nwe\n  %s", first+n, i, p.InPort(), p.frame, counted(theirs), counted(ours[0]))
				if bad++; bad == 4 {
					t.FailNow()
				}
			}
		}
	}
	t.Logf("from seed %d on: %d copies left", first, sent)
}
