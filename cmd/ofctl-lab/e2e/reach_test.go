package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// infrastructure is the name of the lab's own namespace, in which the underlay is.
const infrastructure = "net"

// TestReachability: a host is ready while its packets reach its peers, over each
// encapsulation and an underlay of either family. It is not while the underlay is
// broken, though all of its sessions are up, and it is again afterwards.
func TestReachability(t *testing.T) {
	t.Parallel()
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			l := up(t, "r"+family.suffix, family.topology)
			t.Logf("datapath type %s", l.datapathType(t, "host1"))
			const encaps = 3
			reached := func(host string) func() bool {
				return func() bool {
					s := l.hostState(t, host)
					return s.Ready && s.Reachability.Reached == encaps && s.Reachability.Unreachable == 0
				}
			}
			for _, h := range l.hosts {
				eventually(t, h+" reaches its peer over all encapsulations", reached(h))
			}
			l.mustPing(t, "red-a", "10.1.1.2")

			cable := netdev.DeviceName('u', "host2")
			l.exec(t, infrastructure, "ip", "link", "set", cable, "down")
			for i, h := range l.hosts {
				peer := l.hosts[1-i]
				eventually(t, h+" is not ready", func() bool { return l.hostState(t, h).Reachability.Unreachable == encaps })
				s := l.hostState(t, h)
				if s.Ready || !s.OpenFlow.Connected || !s.OVSDB.Connected {
					t.Errorf("%s: %+v", h, s)
				}
				for _, e := range []string{"gre", "vxlan", "geneve"} {
					if !slices.ContainsFunc(s.Problems, func(p string) bool {
						return strings.HasPrefix(p, "no packet from "+h+" reaches "+peer+" (") && strings.Contains(p, " over "+e+":")
					}) {
						t.Errorf("the problems of %s are %q; want %s among them", h, s.Problems, e)
					}
				}
				if n := l.metric(t, "ofctl_lab_host_unreachable_peers", `host="`+h+`"`); n != encaps {
					t.Errorf("the metric of %s says %v", h, n)
				}
				if text := l.run(t, "describe", "host", h); !strings.Contains(text, "3 unreachable") || !strings.Contains(text, "no packet from "+h) {
					t.Errorf("describe host says\n%s", text)
				}
			}
			l.exec(t, infrastructure, "ip", "link", "set", cable, "up")
			for _, h := range l.hosts {
				eventually(t, h+" is ready again", reached(h))
			}
			l.mustPing(t, "red-a", "10.1.1.2")
		})
	}
}
