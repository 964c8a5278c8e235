package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// 5,000 networks are more than the 4,094 VLAN IDs there are. Two trunks on each
// of two hosts carry all of them: trunk k carries networks k·2,500 … as VLANs
// 1 … 2,500, so that each VLAN ID means another network on the other trunk.
const (
	trunks          = 2
	vlansPerTrunk   = 2500
	spotChecks      = 50
	scaleKeyBase    = 100_000
	scaleTrunkNames = "trunk-%d-%d" // trunk, host
)

// scaleEncap is a network's encapsulation: a third each.
func scaleEncap(n int) string { return encaps[n%len(encaps)] }

func scaleTopology() string {
	var b strings.Builder
	b.WriteString(twoHosts + `
tenants:
  - name: many
    networks:
`)
	for n := range trunks * vlansPerTrunk {
		fmt.Fprintf(&b, "      - {name: n%d, encap: %s, key: %d}\n", n, scaleEncap(n), scaleKeyBase+n)
	}
	b.WriteString("ports:\n")
	for trunk := range trunks {
		for host := 1; host <= 2; host++ {
			// Without a host, since the lab would make every sub-interface.
			fmt.Fprintf(&b, "  - {name: "+scaleTrunkNames+", profile: switch, trunk: {vlans: {", trunk, host)
			for v := 1; v <= vlansPerTrunk; v++ {
				if v > 1 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, "%d: many/n%d", v, trunk*vlansPerTrunk+v-1)
			}
			b.WriteString("}}}\n")
		}
	}
	return b.String()
}

// TestManyNetworks: 5,000 networks on two hosts; those looked at pass traffic, both
// ways and under their own keys, and nothing of it comes to their neighbours.
func TestManyNetworks(t *testing.T) {
	t.Parallel()
	l := up(t, "m", scaleTopology())
	wire := map[[2]int]*guest{}
	for trunk := range trunks {
		for host := 1; host <= 2; host++ {
			port := fmt.Sprintf(scaleTrunkNames, trunk, host)
			a := lab.Attachment{Port: port, Host: fmt.Sprintf("host%d", host), MTU: 1400,
				MAC: lab.MAC(net.HardwareAddr{2, 0, 0, 0, byte(trunk), byte(host)})}
			if err := l.m.Plug(t.Context(), l.name, a, lab.PlugOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, port+" is up", func() bool { return l.portStatus(t, port).State == api.StateUp })
			wire[[2]int{trunk, host}] = l.guest(t, port)
		}
	}
	l.settled(t)
	networks, err := l.api.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	present := 0
	for _, n := range networks {
		if len(n.Status.Hosts) == 2 {
			present++
		}
	}
	if present != trunks*vlansPerTrunk {
		t.Errorf("%d networks are present on both hosts, want %d", present, trunks*vlansPerTrunk)
	}
	t.Logf("host1 holds %d flows and %d groups", l.hostState(t, "host1").Flows, l.hostState(t, "host1").Groups)

	random := rand.New(rand.NewPCG(1, 5000)) // the same networks in each run
	for range spotChecks {
		trunk, vlan := random.IntN(trunks), uint16(1+random.IntN(vlansPerTrunk))
		spotCheck(t, l, wire, trunk, vlan)
	}
	t.Run("control: a neighbour's tag", func(t *testing.T) {
		// Of trunk 0, VLAN 7 is taken for VLAN 8: into network 7, whose ID is asked for.
		n, err := l.api.Network(t.Context(), "many/n7")
		if err != nil {
			t.Fatal(err)
		}
		from, to := wire[[2]int{0, 1}].on(7), wire[[2]int{0, 2}]
		l.addForeign(t, "host1", fmt.Sprintf("table=0,priority=250,in_port=%d,dl_vlan=7,actions=strip_vlan,load:%d->NXM_NX_REG0[],goto_table:10",
			l.portStatus(t, from.port).OFPort, n.ID))
		marker := t.Name() + ";"
		from.send(t, experiment(from.mac, broadcast, 7, []byte(marker)))
		if got := vlanOf(to.await(t, marker)); got != 8 {
			t.Errorf("a frame put into the neighbour's network arrived in VLAN %d, want 8: this test does not see leaks", got)
		}
	})
}

// vlanOf is the ID in a frame's outer tag, 0 if it has none.
func vlanOf(f netdev.Frame) uint16 {
	if len(f.Data) < 16 || f.Data[12] != 0x81 || f.Data[13] != 0 {
		return 0
	}
	return (uint16(f.Data[14])<<8 | uint16(f.Data[15])) & 0xfff
}

// spotCheck sends frames to one station and to everybody in a network, both ways.
// They must arrive at the other end of the network, with its tag, under its key, and
// nowhere else: not in the neighbouring VLANs, nor on the other trunk, whose VLAN
// of that ID is another network.
func spotCheck(t *testing.T, l *testLab, wire map[[2]int]*guest, trunk int, vlan uint16) {
	t.Helper()
	network := trunk*vlansPerTrunk + int(vlan) - 1
	link := l.underlay(t, "host1")
	defer link.Close()
	for _, hosts := range [][2]int{{1, 2}, {2, 1}} {
		from, to := wire[[2]int{trunk, hosts[0]}].on(vlan), wire[[2]int{trunk, hosts[1]}]
		marker := fmt.Sprintf("%s network %d to host %d;", t.Name(), network, hosts[1])
		from.send(t,
			experiment(from.mac, to.mac, vlan, []byte(marker)),
			experiment(from.mac, broadcast, vlan, []byte(marker)))
		arrived := marked(from.flush(t, to), marker)
		if len(arrived) != 2 {
			t.Errorf("%s %d frames arrived, want 2", marker, len(arrived))
		}
		for _, f := range arrived {
			if vlanOf(f) != vlan {
				t.Errorf("%s arrived in VLAN %d, want %d", marker, vlanOf(f), vlan)
			}
		}
		for _, d := range carried(t, link, from) {
			if d.encap != scaleEncap(network) || d.key != uint32(scaleKeyBase+network) {
				t.Errorf("%s the underlay carried %v, want %s key %d", marker, d, scaleEncap(network), scaleKeyBase+network)
			}
		}
		other := [2]*guest{wire[[2]int{1 - trunk, hosts[0]}].on(vlan), wire[[2]int{1 - trunk, hosts[1]}].on(vlan)}
		for _, way := range [][2]*guest{{other[0], other[1]}, {other[1], other[0]}} {
			if n := len(marked(way[0].flush(t, way[1]), marker)); n != 0 {
				t.Errorf("%s %d frames arrived at %s", marker, n, way[1].port)
			}
		}
	}
}
