package e2e

import (
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// TestDatabaseRestart: after a restart of ovsdb-server, of ovs-vswitchd, and of both in
// either order, a bridge has the datapath type that it had, its host is ready and its
// guests reach the others. While ovsdb-server alone is away and comes back no flow is
// written. Nor is a frame lost, unless the datapath is the userspace one: its ports are served
// by ovs-vswitchd's main thread, which does nothing without the database's lock.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	l := up(t, "db", families[0].topology)
	const host, tep = "host1", "192.168.200.20"
	datapath := l.vsctl(t, host, "get", "bridge", lab.IntegrationBridge, "datapath_type")
	device := l.deviceWith(t, host, tep)
	t.Logf("datapath type %s, tunnel endpoint on %s", datapath, device)

	t.Run("ovsdb-server under traffic", func(t *testing.T) {
		before := map[string]holds{host: l.holds(t, host)}
		sent := l.metric(t, "ofctl_lab_switch_entries_total", `host="`+host+`"`)
		if datapath == "netdev" {
			l.restart(t, host, []string{"ovsdb-server"})
			l.isReady(t, host, datapath)
		} else {
			from, to := l.guest(t, "red-a"), l.guest(t, "red-b")
			from.flush(t, to)
			s := from.stream(t, to.mac, t.Name())
			s.more(t, 100)
			l.restart(t, host, []string{"ovsdb-server"})
			s.more(t, 100)
			l.isReady(t, host, datapath)
			s.more(t, 100)
			s.arrivedOnce(t, to)
		}
		l.unchanged(t, before)
		if n := l.metric(t, "ofctl_lab_switch_entries_total", `host="`+host+`"`) - sent; n != 0 {
			t.Errorf("%v entries were sent to the switch", n)
		}
	})
	for _, daemons := range [][]string{
		{"ovs-vswitchd"}, {"ovsdb-server", "ovs-vswitchd"}, {"ovs-vswitchd", "ovsdb-server"}, {"ovsdb-server"},
	} {
		t.Run(strings.Join(daemons, " and "), func(t *testing.T) {
			l.restart(t, host, daemons)
			if l.deviceWith(t, host, tep) == "" {
				// The userspace datapath's local ports went with the process: the host's
				// own network configuration has to address the TEP's again.
				l.exec(t, host, "ip", "address", "replace", tep+"/24", "dev", device)
				l.exec(t, host, "ip", "link", "set", device, "up")
			}
			l.isReady(t, host, datapath)
			for _, way := range [][2]string{{"red-a", "10.1.1.2"}, {"blue-a", "10.1.1.2"}, {"red-b", "10.1.1.1"}} {
				eventually(t, way[0]+" reaches "+way[1], func() bool { return l.ping(t, way[0], way[1]) == nil })
			}
		})
	}
}

// restart kills daemons of a host's Open vSwitch, all of them before any is started again,
// in that order and by the same commands, and waits until the controller has new sessions.
func (l *testLab) restart(t *testing.T, host string, daemons []string) {
	t.Helper()
	before := l.hostState(t, host)
	commands, killed := map[string][]string{}, map[string]int{}
	for _, program := range daemons {
		killed[program] = l.daemon(t, host, program)
		commands[program] = l.killDaemon(t, host, program)
	}
	for _, program := range daemons {
		// In the background: ovs-vswitchd is ready only when there is a database.
		l.exec(t, host, append([]string{"sh", "-c", `"$@" >/dev/null 2>&1 &`, "sh"}, commands[program]...)...)
		eventually(t, program+" has started", func() bool {
			pid := l.daemon(t, host, program)
			return pid != 0 && pid != killed[program]
		})
	}
	_, database := commands["ovsdb-server"]
	_, vswitchd := commands["ovs-vswitchd"]
	eventually(t, host+" is connected anew", func() bool {
		now := l.hostState(t, host)
		return (!database || now.OVSDB.Connected && now.OVSDB.Since.After(*before.OVSDB.Since)) &&
			(!vswitchd || now.OpenFlow.Connected && now.OpenFlow.Since.After(*before.OpenFlow.Since))
	})
}

// isReady waits until a host is ready, and holds that its bridge runs on datapath.
func (l *testLab) isReady(t *testing.T, host, datapath string) {
	t.Helper()
	eventually(t, host+" is ready", func() bool { return l.hostState(t, host).Ready })
	if got := l.vsctl(t, host, "get", "bridge", lab.IntegrationBridge, "datapath_type"); got != datapath {
		t.Errorf("the datapath type was %s and is %s", datapath, got)
	}
}

// deviceWith is the device of a host that has an address, "" if none has.
func (l *testLab) deviceWith(t *testing.T, host, addr string) string {
	t.Helper()
	fields := strings.Fields(l.exec(t, host, "ip", "-o", "address", "show", "to", addr))
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}
