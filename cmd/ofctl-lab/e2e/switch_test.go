package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/pipeline"
)

// foreignCookie marks the flows that tests put into a switch behind the
// controller's back. It is not the controller's magic.
const foreignCookie = "0xe2e"

// refreshCounters makes the flows' counters say what the datapath has counted by
// now, and the datapath forward by the flows that there are now: what it has cached
// is counted and forgotten. Left alone both follow within about a second. Upcalls that were
// begun by other flows are waited for, since what they cache would be cached after that.
// (revalidator/wait may end with a round that began before it was asked for.)
func (l *testLab) refreshCounters(t *testing.T, host string) {
	t.Helper()
	l.settle(t)
	l.exec(t, host, "ovs-appctl", "revalidator/purge")
}

// addForeign puts a flow of nobody's into a host's br-int until the test ends:
// flow is ovs-ofctl's text without a cookie, with a priority none of the
// controller's flows in that table has, so that it is not in their place.
func (l *testLab) addForeign(t *testing.T, host, flow string) {
	t.Helper()
	l.ofctl(t, host, "add-flow", lab.IntegrationBridge, "cookie="+foreignCookie+","+flow)
	l.refreshCounters(t, host)
	t.Cleanup(func() { l.delForeign(t, host) })
}

// delForeign takes all flows of nobody's away again.
func (l *testLab) delForeign(t *testing.T, host string) {
	t.Helper()
	// Also called as a cleanup, without the test's context.
	c := l.command(cleanupContext(t), "lab", "exec", host, "--",
		"ovs-ofctl", "-O", "OpenFlow13", "del-flows", lab.IntegrationBridge, "cookie="+foreignCookie+"/-1")
	if err := c.wait(); err != nil {
		t.Error(err)
	}
}

// ofctl runs ovs-ofctl on a host.
func (l *testLab) ofctl(t *testing.T, host string, args ...string) string {
	t.Helper()
	return l.exec(t, host, append([]string{"ovs-ofctl", "-O", "OpenFlow13"}, args...)...)
}

// vsctl runs ovs-vsctl on a host.
func (l *testLab) vsctl(t *testing.T, host string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(l.exec(t, host, append([]string{"ovs-vsctl", "--timeout=20"}, args...)...))
}

// ofport is the OpenFlow number of a device on a host.
func (l *testLab) ofport(t *testing.T, host, dev string) int {
	t.Helper()
	n, err := strconv.Atoi(l.vsctl(t, host, "get", "interface", dev, "ofport"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// trace is what the host's switch says it does with a frame from a port.
func (l *testLab) trace(t *testing.T, host string, port int, frame []byte) string {
	t.Helper()
	out, err := l.try(t, host, "ovs-appctl", "ofproto/trace", lab.IntegrationBridge, fmt.Sprintf("in_port=%d", port), hex.EncodeToString(frame))
	if err != nil {
		return err.Error()
	}
	return out
}

// counted is what a switch has counted of one of its flows.
type counted struct {
	packets, bytes uint64
	seconds        float64 // since it was added
}

var statistics = regexp.MustCompile(`(duration|n_packets|n_bytes|idle_age|hard_age)=([0-9.]+)s?,? ?`)

// entries are all flows of a host's br-int, their own and those of others, as
// the switch lists them, with their counters.
func (l *testLab) entries(t *testing.T, host string) map[string]counted {
	t.Helper()
	l.refreshCounters(t, host)
	out := map[string]counted{}
	for line := range strings.Lines(l.ofctl(t, host, "dump-flows", lab.IntegrationBridge)) {
		if !strings.Contains(line, "cookie=") {
			continue
		}
		var c counted
		for _, m := range statistics.FindAllStringSubmatch(line, -1) {
			switch m[1] {
			case "n_packets":
				c.packets = number(t, m[2])
			case "n_bytes":
				c.bytes = number(t, m[2])
			case "duration":
				seconds, err := strconv.ParseFloat(m[2], 64)
				if err != nil {
					t.Fatal(err)
				}
				c.seconds = seconds
			}
		}
		out[strings.TrimSpace(statistics.ReplaceAllString(line, ""))] = c
	}
	if len(out) == 0 {
		t.Fatalf("%s lists no flows", host)
	}
	return out
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unchanged holds that a switch has the same flows as before, and that none was
// replaced meanwhile: what each has counted, and its age, have only grown.
func unchanged(t *testing.T, host string, before, now map[string]counted) {
	t.Helper()
	for flow, was := range before {
		is, ok := now[flow]
		switch {
		case !ok:
			t.Errorf("%s has lost %s", host, flow)
		case is.packets < was.packets || is.bytes < was.bytes || is.seconds < was.seconds:
			t.Errorf("%s has replaced %s: %+v before, %+v now", host, flow, was, is)
		}
	}
	for flow := range now {
		if _, ok := before[flow]; !ok {
			t.Errorf("%s has got %s", host, flow)
		}
	}
}

// groups are the groups of a host's br-int, by number.
func (l *testLab) groups(t *testing.T, host string) string {
	t.Helper()
	var groups []string
	for line := range strings.Lines(l.ofctl(t, host, "dump-groups", lab.IntegrationBridge)) {
		if strings.Contains(line, "group_id=") {
			groups = append(groups, strings.TrimSpace(line))
		}
	}
	slices.Sort(groups)
	return strings.Join(groups, "\n")
}

// wiretap is the log of every OpenFlow message of a host's switch, from when it
// was opened.
type wiretap struct {
	l    *testLab
	host string
	from int64 // offset in the log
}

func (l *testLab) vswitchdLog(host string) string {
	return filepath.Join(l.m.Dir(l.name), "hosts", host, "ovs-vswitchd.log")
}

func (l *testLab) wiretap(t *testing.T, host string) *wiretap {
	t.Helper()
	l.exec(t, host, "ovs-appctl", "vlog/disable-rate-limit", "vconn")
	l.exec(t, host, "ovs-appctl", "vlog/set", "vconn:file:dbg")
	info, err := os.Stat(l.vswitchdLog(host))
	if err != nil {
		t.Fatal(err)
	}
	return &wiretap{l, host, info.Size()}
}

// openflowMessage is a message between the switch and the controller in the log of
// ovs-vswitchd; what ovs-ofctl says goes by a unix socket.
var openflowMessage = regexp.MustCompile(`vconn\|DBG\|tcp:\S+: (?:sent \(Success\)|received): ([A-Z]+_[A-Z_]+)(.*)`)

// probeIn is the type of a packet-in of the controller's own probes: no frame of a guest
// causes any.
const probeIn = "OFPT_PACKET_IN of a probe"

// isProbe says so of the rest of a packet-in in that log.
var isProbe = regexp.MustCompile(fmt.Sprintf(`\bcookie=0x0*%x%02x`, flows.CookieMagic, uint8(pipeline.FeatReachability)))

// messages counts the messages of each type so far. ovs-vswitchd has another thread write the
// log, which may be late: what has passed is in it once a request made now is.
func (w *wiretap) messages(t *testing.T) map[string]int {
	t.Helper()
	mark := fmt.Sprintf("%016x", rand.Uint64()|1<<63)
	w.l.ofctl(t, w.host, "dump-flows", lab.IntegrationBridge, "metadata=0x"+mark)
	var b []byte
	eventually(t, "the log has caught up", func() (there bool) {
		var err error
		if b, err = os.ReadFile(w.l.vswitchdLog(w.host)); err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b[w.from:], []byte(mark))
	})
	n := map[string]int{}
	for _, m := range openflowMessage.FindAllSubmatch(b[w.from:], -1) {
		kind := string(m[1])
		if kind == "OFPT_PACKET_IN" && isProbe.Match(m[2]) {
			kind = probeIn
		}
		n[kind]++
	}
	return n
}

// modifying are the messages of these that change what a switch holds.
func modifying(messages map[string]int) map[string]int {
	n := map[string]int{}
	for kind, count := range messages {
		if strings.Contains(kind, "_MOD") || strings.Contains(kind, "BUNDLE") {
			n[kind] = count
		}
	}
	return n
}

// The datapath types of a bridge.
const (
	kernelDatapath    = "system"
	userspaceDatapath = "netdev"
)

// datapathType is that of a host's br-int.
func (l *testLab) datapathType(t *testing.T, host string) string {
	t.Helper()
	switch s := strings.Trim(l.vsctl(t, host, "get", "bridge", lab.IntegrationBridge, "datapath_type"), `"`); s {
	case "", kernelDatapath:
		return kernelDatapath
	case userspaceDatapath:
		return userspaceDatapath
	default:
		t.Fatalf("br-int of %s has the datapath type %q", host, s)
		return ""
	}
}
