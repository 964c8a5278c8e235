package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
)

// manyPorts is a topology of n ports, half of them on each of two hosts, in n/10 networks.
func manyPorts(n int) string {
	var b strings.Builder
	b.WriteString("name: many\nhosts:\n  - {name: host1, tep: 192.0.2.1}\n  - {name: host2, tep: 192.0.2.2}\ntenants:\n  - name: red\n    networks:\n")
	for i := range max(n/10, 1) {
		fmt.Fprintf(&b, "      - {name: n%d, encap: gre, key: %d, subnets: [10.0.0.0/16]}\n", i, i+1)
	}
	b.WriteString("ports:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: p%d, network: red/n%d, addresses: [10.0.%d.%d]}\n", i, i%max(n/10, 1), i/250, i%250+1)
	}
	return b.String()
}

// BenchmarkApply500Ports is from the apply of 500 ports that are plugged already,
// on two hosts, until both switches (simulated, over TCP) have confirmed all flows.
func BenchmarkApply500Ports(b *testing.B) {
	const n = 500
	empty, full := "name: many\nhosts:\n  - {name: host1, tep: 192.0.2.1}\n  - {name: host2, tep: 192.0.2.2}\n", manyPorts(n)
	r := start(b, testConfig(b.TempDir()))
	r.apply(empty)
	var ports [2][]plugged
	for i := range n {
		ports[i%2] = append(ports[i%2], plugged{fmt.Sprintf("p%d", i), uint32(i/2 + 1), 0})
	}
	switches := []*sim.Switch{r.newSwitch("host1"), r.newSwitch("host2")}
	for i, s := range switches {
		r.show(fmt.Sprintf("host%d", i+1), fmt.Sprintf("192.0.2.%d", i+1), ports[i]...)
		r.connect(s)
	}
	r.until(func() string {
		if len(r.c.engine.load().Unclaimed()) != n {
			return "not all interfaces are shown"
		}
		return r.synced()
	})
	for b.Loop() {
		r.apply(full)
		r.until(r.synced)
		b.StopTimer()
		if got := r.c.hosts.find("host1").sync.Load().flows; got < n {
			b.Fatalf("%d flows for %d ports", got, n)
		}
		r.apply(empty)
		r.until(r.synced)
		b.StartTimer()
	}
}
