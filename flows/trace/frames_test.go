package trace

import (
	"encoding/binary"
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

	"github.com/ofctl-lab/ofctl-lab/flows"
)

var framesSent = flag.Int("frames", 1200, "how many real frames to send through Open vSwitch")

// capture is what leaves by the ports of guests, as Open vSwitch writes it to a file for
// each in the format of pcap: a header of 24 bytes, and each frame behind 16 bytes of its
// own, of which the third word is its length.
type capture struct {
	v     *vswitch
	files map[uint32]*os.File
	at    map[uint32]int64 // of the next frame
	again int              // frames that were sent twice
}

func (v *vswitch) capture() *capture {
	return &capture{v: v, files: map[uint32]*os.File{}, at: map[uint32]int64{}}
}

// open opens the files of ports that are new.
func (c *capture) open() {
	for n, name := range c.v.ports {
		if c.files[n] != nil || isTunnelPort(n) {
			continue
		}
		f, err := os.Open(filepath.Join(c.v.dir, name+".pcap"))
		if err != nil {
			c.v.t.Fatal(err)
		}
		c.v.t.Cleanup(func() { f.Close() })
		c.files[n], c.at[n] = f, 24
	}
}

// next are the frames that have left since the last time. One that is written in part only
// has not.
func (c *capture) next() []string {
	c.v.t.Helper()
	read := func(f *os.File, n int, at int64) []byte {
		b := make([]byte, n)
		got, err := f.ReadAt(b, at)
		if err != nil && !errors.Is(err, io.EOF) {
			c.v.t.Fatal(err)
		}
		return b[:got]
	}
	var outs []string
	for port, f := range c.files {
		for {
			head := read(f, 16, c.at[port])
			if len(head) < 16 {
				break
			}
			n := int(binary.NativeEndian.Uint32(head[8:]))
			frame := read(f, n, c.at[port]+16)
			if len(frame) < n {
				break
			}
			c.at[port] += int64(16 + n)
			outs = append(outs, fmt.Sprintf("%d  %x", port, frame))
		}
	}
	slices.Sort(outs)
	return outs
}

// frame sends a guest's real frame through the datapath, and compares what leaves by
// ports of guests with what we say. It returns how many copies left. What we say that
// Open vSwitch fails at is not tried.
func (c *capture) frame(s *Switch, p *Packet) (left int, disagree string) {
	c.v.t.Helper()
	res := s.Trace(p, Options{})
	if fails(res) {
		return 0, ""
	}
	var ours [][]string // of each branch
	most, undecided := 0, false
	for _, b := range res.Branches {
		outs := slices.DeleteFunc(weSay(b), func(o string) bool {
			port, rest, _ := strings.Cut(o, " ")
			return !strings.HasPrefix(rest, " ") || port == fmt.Sprint(flows.PortLocal)
		})
		ours = append(ours, outs)
		undecided = undecided || len(b.Unknown) > 0
		most = max(most, len(outs))
	}
	same := func(theirs []string) bool {
		return undecided || slices.ContainsFunc(ours, func(o []string) bool { return slices.Equal(o, theirs) })
	}
	theirs := c.through(p, most)
	if !same(theirs) {
		// What is cached of packets before, and a frame that a busy switch loses, is not
		// the same the second time.
		c.v.call("revalidator/purge")
		for range 50 {
			c.v.call("version")
			c.next()
		}
		theirs = c.through(p, most)
		c.again++
	}
	if !same(theirs) {
		disagree = fmt.Sprintf("in_port=%d %x\nOpen vSwitch\n  %s\nwe\n  %s", p.InPort(), p.frame, counted(theirs), counted(ours[0]))
	}
	return len(theirs), disagree
}

// through sends a frame through the switch, of which copies are expected, and is what
// leaves. The switch does all it has to do with a frame in one of the next turns of the loop
// that also answers commands.
func (c *capture) through(p *Packet, copies int) []string {
	c.v.t.Helper()
	c.open()
	c.v.call("netdev-dummy/receive", c.v.ports[p.InPort()], hex.EncodeToString(p.frame))
	var out []string
	for turn := 0; turn < 3 || turn < 1000 && len(out) < copies; turn++ {
		c.v.call("version")
		out = append(out, c.next()...)
	}
	slices.Sort(out)
	return out
}

// withoutPartsInTunnels takes out what sends a part of a packet into a tunnel: the datapath of
// these tests has no tunnels, and cuts the next copy instead.
func (c *testCase) withoutPartsInTunnels() {
	for _, f := range c.flows {
		f.Apply = without(f.Apply, func(a flows.Action) bool {
			o, ok := a.(flows.OutputTrunc)
			return ok && isTunnelPort(o.Port)
		})
	}
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
		tc.withoutPartsInTunnels()
		// What is cached is translated anew when the flows change: of packets that Open
		// vSwitch would not survive then, nothing may be.
		v.call("revalidator/purge")
		if err := v.load(tc); err != nil {
			t.Fatal(err)
		}
		// What the datapath remembers of the state before must not be used any more.
		v.call("revalidator/purge")
		s, err := tc.newSwitch(v.version)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range tc.packets {
			if p.InPort() > 4 {
				continue
			}
			v.doing = fmt.Sprintf("seed %d, packet %d: ", first+n, i)
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
	t.Logf("from seed %d on: %d copies left; %d frames were sent twice", first, sent, c.again)
}
