package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// way is a path on which sentinels pass, and at whose end is looked.
type way struct{ from, to *guest }

// delivered says which frames with the marker arrived at the ends of the ways.
// All that was sent on the same hosts before has arrived by then, or never will.
func delivered(t *testing.T, marker string, ways ...way) string {
	t.Helper()
	var out []string
	for _, w := range ways {
		for _, f := range marked(w.from.flush(t, w.to), marker) {
			out = append(out, fmt.Sprintf("at %s: % x", w.to.port, f.Data[:min(len(f.Data), 90)]))
		}
	}
	return strings.Join(out, "\n")
}

// drop is the name under which frames are dropped.
type drop struct{ host, reason, owner string }

func (d drop) String() string { return d.reason + " of " + d.owner + " on " + d.host }

// mustDrop holds that none of the frames that send sends arrives at the ends of
// the ways, and that each is counted under the name.
func (l *testLab) mustDrop(t *testing.T, d drop, marker string, frames int, send func(), ways ...way) {
	t.Helper()
	before := l.dropped(t, d.host, d.reason, d.owner)
	send()
	if got := delivered(t, marker, ways...); got != "" {
		t.Errorf("frames that must be dropped as %v arrived:\n%s", d, got)
	}
	if n := l.dropped(t, d.host, d.reason, d.owner) - before; n != uint64(frames) {
		t.Errorf("%d frames were counted as %v, want %d", n, d, frames)
	}
}

// mustPass is the negative control of mustDrop: with the foreign flow on the
// host, what send sends arrives.
func (l *testLab) mustPass(t *testing.T, host, flow, marker string, send func(), ways ...way) {
	t.Helper()
	l.addForeign(t, host, flow)
	send()
	if delivered(t, marker, ways...) == "" {
		t.Errorf("with the flow %s the frames do not arrive either: the test proves nothing", flow)
	}
}

// tepDevice is the interface that has a host's TEP.
func (l *testLab) tepDevice(t *testing.T, host string) string {
	t.Helper()
	dev, err := l.m.TEPDevice(l.name, host)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// readdress gives a host its TEP again after its ovs-vswitchd was started anew, as the
// host's own network configuration does when the local port was made anew with it.
func (l *testLab) readdress(t *testing.T, host, tep string) {
	t.Helper()
	dev := l.tepDevice(t, host)
	l.exec(t, host, "ip", "address", "replace", tep, "dev", dev)
	l.exec(t, host, "ip", "link", "set", dev, "up")
}

// hostMAC is the address of the interface that has a host's TEP.
func (l *testLab) hostMAC(t *testing.T, host string) net.HardwareAddr {
	t.Helper()
	ns, err := l.m.Namespace(l.name, lab.Target{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	link, err := ns.Link(l.tepDevice(t, host))
	if err != nil {
		t.Fatal(err)
	}
	return link.MAC
}

// networkID is the number of a network in reg0.
func (l *testLab) networkID(t *testing.T, network string) uint32 {
	t.Helper()
	n, err := l.api.Network(t.Context(), network)
	if err != nil {
		t.Fatal(err)
	}
	return n.ID
}
