package e2e

import (
	"bytes"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// answerTopology has the same four guests in two networks: of red all that are
// declared are answered for, of blue those that are bound.
const answerTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 1000001, subnets: [10.1.1.0/24], answer: declared}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 1000002, subnets: [10.1.1.0/24]}
ports:
  - {name: red-a, network: red/web, host: host1, addresses: [10.1.1.1]}
  - {name: red-b, network: red/web, host: host2, addresses: [10.1.1.2]}
  - {name: red-c, network: red/web, host: host1, addresses: [10.1.1.3]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.1.1.1]}
  - {name: blue-b, network: blue/web, host: host2, addresses: [10.1.1.2]}
  - {name: blue-c, network: blue/web, host: host1, addresses: [10.1.1.3]}
`

// TestAnswerWhileDown: a guest that is down has no flows at its port, and its
// addresses are answered if its network says so.
func TestAnswerWhileDown(t *testing.T) {
	t.Parallel()
	l := up(t, "d", answerTopology)
	for _, tenant := range []string{"red", "blue"} {
		down := l.guest(t, tenant+"-b").station()
		l.mustPing(t, tenant+"-a", "10.1.1.2")
		number := l.portStatus(t, tenant+"-b").OFPort
		l.run(t, "lab", "unplug", tenant+"-b")
		if s := l.portStatus(t, tenant+"-b"); s.State != api.StateDown {
			t.Fatalf("%s-b is unplugged and %s", tenant, s.State)
		}
		for _, f := range l.flows(t, "host2", "--port", tenant+"-b") {
			t.Errorf("%s-b is down, nobody of its network is on host2, and that has %s", tenant, f.Raw)
		}
		for _, f := range l.flows(t, "host1", "--port", tenant+"-b") {
			if f.TableName != "arp_nd" && f.Feature != "port-down" {
				t.Errorf("%s-b, which was port %d of host2, is down and host1 has %s", tenant, number, f.Raw)
			}
		}

		a, c := l.guest(t, tenant+"-a"), l.guest(t, tenant+"-c")
		// The answer, if any, and the copies of the question are older than the
		// sentinels that follow.
		marker := t.Name() + " " + tenant + ";"
		a.send(t, arp(t, layers.ARPRequest, broadcast, a.station(), down, marker))
		flooded := len(marked(a.flush(t, c), marker))
		answers := answersFor(c.flush(t, a), down)
		wantFlooded, wantAnswers := 0, 1
		if tenant == "blue" {
			wantFlooded, wantAnswers = 1, 0
		}
		if flooded != wantFlooded || answers != wantAnswers {
			t.Errorf("%s: the question for a guest that is down was answered %d times and reached %d others, want %d and %d",
				tenant, answers, flooded, wantAnswers, wantFlooded)
		}

		reason := drop{"host1", "port-down", "port red-b"}
		if tenant == "blue" {
			reason = drop{"host1", "unknown-unicast", "network blue/web"}
		}
		l.mustDrop(t, reason, marker+" to it", 1, func() {
			a.send(t, udp(t, a.station(), down, marker+" to it"))
		}, way{a, c})

		l.run(t, "lab", "plug", tenant+"-b")
		l.mustPing(t, tenant+"-a", "10.1.1.2")
		for _, f := range l.flows(t, "host1", "--port", tenant+"-b") {
			if f.Feature == "port-down" {
				t.Errorf("%s-b is up and host1 has %s", tenant, f.Raw)
			}
		}
	}
}

// answersFor counts the ARP replies among the frames that say where s is.
func answersFor(frames []netdev.Frame, s station) int {
	n := 0
	for _, f := range frames {
		p := arpOf(f)
		if p != nil && p.Operation == layers.ARPReply && bytes.Equal(p.SourceProtAddress, s.addr.AsSlice()) && bytes.Equal(p.SourceHwAddress, s.mac) {
			n++
		}
	}
	return n
}
