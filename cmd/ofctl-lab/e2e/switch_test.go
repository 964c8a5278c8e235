package e2e

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// foreignCookie marks the flows that tests put into a switch behind the
// controller's back. It is not the controller's magic.
const foreignCookie = "0xe2e"

// refreshCounters makes the flows' counters say what the datapath has counted by
// now; left alone they follow within about a second.
func (l *testLab) refreshCounters(t *testing.T, host string) {
	t.Helper()
	l.exec(t, host, "ovs-appctl", "revalidator/wait")
}

// addForeign puts a flow of nobody's into a host's br-int until the test ends:
// flow is ovs-ofctl's text without a cookie, with a priority none of the
// controller's flows in that table has, so that it is not in their place.
func (l *testLab) addForeign(t *testing.T, host, flow string) {
	t.Helper()
	l.ofctl(t, host, "add-flow", lab.IntegrationBridge, "cookie="+foreignCookie+","+flow)
	l.exec(t, host, "ovs-appctl", "revalidator/wait")
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

// counted is an entry of a switch without, and with, what it has counted.
type counted struct {
	packets, bytes uint64
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
