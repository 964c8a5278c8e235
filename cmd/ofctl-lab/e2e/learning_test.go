package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// learningTopology has ports behind which stations come and go, among ports that
// are what they declare, and a second tenant with the same addresses.
const learningTopology = twoHosts + `
tenants:
  - name: red
    networks:
      - {name: web, encap: gre, key: 5001, subnets: [10.5.1.0/24]}
  - name: blue
    networks:
      - {name: web, encap: vxlan, key: 5002, subnets: [10.5.1.0/24]}
ports:
  - {name: sw1, network: red/web, host: host1, profile: switch, macs: 8}
  - {name: sw2, network: red/web, host: host2, profile: switch}
  - {name: sw3, network: red/web, host: host1, profile: switch}
  - {name: red-a, network: red/web, host: host1, addresses: [10.5.1.1]}
  - {name: red-b, network: red/web, host: host2, addresses: [10.5.1.2]}
  - {name: blue-a, network: blue/web, host: host1, addresses: [10.5.1.1]}
  - {name: blue-b, network: blue/web, host: host2, addresses: [10.5.1.2]}
`

// learningLab is the lab of learningTopology with the wires of its guests.
type learningLab struct {
	*testLab
	sw1, sw2, sw3, redA, redB, blueA, blueB *guest
}

func newLearningLab(t *testing.T, suffix string) *learningLab {
	t.Helper()
	l := &learningLab{testLab: up(t, suffix, learningTopology)}
	for port, g := range map[string]**guest{"sw1": &l.sw1, "sw2": &l.sw2, "sw3": &l.sw3,
		"red-a": &l.redA, "red-b": &l.redB, "blue-a": &l.blueA, "blue-b": &l.blueB} {
		*g = l.guest(t, port)
	}
	return l
}

// behind is the MAC of a station behind a port.
func behind(n uint32) net.HardwareAddr {
	return binary.BigEndian.AppendUint32(net.HardwareAddr{0x02, 0x5e}, n)
}

// learned are the MACs that a port has learned.
func (l *learningLab) learned(t *testing.T, port string) map[string]api.LearnedMAC {
	t.Helper()
	out := map[string]api.LearnedMAC{}
	for _, m := range l.portStatus(t, port).Learning.MACs {
		out[m.MAC] = m
	}
	return out
}

// awaitLearned waits until a MAC is learned at a port and every switch forwards by it.
func (l *learningLab) awaitLearned(t *testing.T, mac net.HardwareAddr, port string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is learned at %s", mac, port), func() bool { _, ok := l.learned(t, port)[mac.String()]; return ok })
	l.settled(t)
	for _, host := range l.hosts {
		l.refreshCounters(t, host)
	}
}

// copies sends frames from red-b to a MAC and counts those that arrive, by port. A
// busy machine may lose some.
func (l *learningLab) copies(t *testing.T, to net.HardwareAddr) map[string]int {
	t.Helper()
	const frames = 20
	marker := fmt.Sprintf("copies %d;", sentinels.Add(1))
	for range frames {
		l.redB.send(t, experiment(l.redB.mac, to, 0, []byte(marker)))
	}
	out := map[string]int{}
	for _, g := range []*guest{l.sw1, l.sw2, l.sw3, l.redA} {
		out[g.port] = len(marked(l.redB.flush(t, g), marker))
	}
	return out
}

// TestLearning: stations behind ports of profile switch are found, followed, and
// forgotten with their port.
func TestLearning(t *testing.T) {
	t.Parallel()
	l := newLearningLab(t, "g")
	t.Run("ends flooding", func(t *testing.T) { learningEndsFlooding(t, l) })
	t.Run("moves", func(t *testing.T) { learnedMACMoves(t, l) })
	t.Run("declared MACs stay", func(t *testing.T) { declaredMACsStay(t, l) })
	t.Run("networks stay apart", func(t *testing.T) { l.mustVerify(t) })
	t.Run("invalid sources", func(t *testing.T) { invalidSources(t, l) })
	t.Run("from IPv6", func(t *testing.T) { learnedFromIPv6(t, l) })
	t.Run("outlives the controller", func(t *testing.T) { learnedOutlivesTheController(t, l) })
	t.Run("gone with the port", func(t *testing.T) { learnedGoesWithThePort(t, l) })
}

func learningEndsFlooding(t *testing.T, l *learningLab) {
	one := behind(1)
	// The control: what nobody has sent from floods.
	if got := l.copies(t, one); got["sw1"] == 0 || got["red-a"] == 0 {
		t.Fatalf("frames to an unknown MAC arrived as %v, want them everywhere", got)
	}
	// The very first frame is delivered, and is what is learned from.
	l.sw1.send(t, experiment(one, l.redB.mac, 0, []byte("first frame;")))
	l.redB.await(t, "first frame;")
	l.awaitLearned(t, one, "sw1")
	if got := l.copies(t, one); got["sw1"] == 0 || got["sw2"]+got["sw3"]+got["red-a"] != 0 {
		t.Errorf("frames to a learned MAC arrived as %v, want them at sw1 alone", got)
	}
	// Known sources tell nobody.
	before := l.guestsPacketIns(t, "host1")
	for range 50 {
		l.sw1.send(t, experiment(one, l.redB.mac, 0, []byte("known;")))
	}
	l.sw1.flush(t, l.redB)
	if n := l.guestsPacketIns(t, "host1") - before; n != 0 {
		t.Errorf("frames from a known source caused %v packet-ins", n)
	}
	text := l.run(t, "describe", "port", "sw1")
	if !strings.Contains(text, "1 of at most 8 source MACs learned") || !strings.Contains(text, one.String()) {
		t.Errorf("describe port says\n%s", text)
	}
	if text := l.run(t, "get", "ports", "-o", "wide"); !strings.Contains(text, "1/8") {
		t.Errorf("get ports says\n%s", text)
	}
}

// garp is a gratuitous ARP announcement (RFC 5227 section 1.1).
func garp(t *testing.T, mac net.HardwareAddr) []byte {
	at := station{mac, netip.MustParseAddr("10.5.1.77")}
	return arp(t, layers.ARPRequest, broadcast, at, station{addr: at.addr}, "")
}

// rarp is what a hypervisor sends when a guest has moved (RFC 903, reverse request).
func rarp(t *testing.T, mac net.HardwareAddr) []byte {
	const reverseRequest = 3
	return serialize(t, &layers.Ethernet{SrcMAC: mac, DstMAC: broadcast, EthernetType: 0x8035},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: reverseRequest, SourceHwAddress: mac, SourceProtAddress: make([]byte, 4), DstHwAddress: mac, DstProtAddress: make([]byte, 4)},
		gopacket.Payload(make([]byte, 18)))
}

func learnedMACMoves(t *testing.T, l *learningLab) {
	two := behind(2)
	l.sw1.send(t, experiment(two, broadcast, 0, nil))
	l.awaitLearned(t, two, "sw1")
	for _, step := range []struct {
		name  string
		to    *guest
		frame []byte
	}{
		{"GARP", l.sw2, garp(t, two)},
		{"RARP", l.sw3, rarp(t, two)},
		{"any frame", l.sw1, experiment(two, l.redB.mac, 0, []byte("I am back"))},
	} {
		step.to.send(t, step.frame)
		l.awaitLearned(t, two, step.to.port)
		got := l.copies(t, two)
		for port, n := range got {
			if (n > 0) != (port == step.to.port) {
				t.Errorf("after %s from %s frames arrived as %v", step.name, step.to.port, got)
			}
		}
	}
	eventually(t, "3 moves are counted", func() bool { return l.metric(t, "ofctl_lab_learned_mac_moves_total") == 3 })
}

// declaredMACsStay: a port of profile switch cannot take its neighbours' MACs.
func declaredMACsStay(t *testing.T, l *learningLab) {
	before := l.dropped(t, "host1", "taken-mac", "port red-b")
	marker := t.Name()
	for range 10 {
		l.sw1.send(t, experiment(l.redB.mac, l.redA.mac, 0, []byte(marker)))
	}
	if got := marked(l.sw1.flush(t, l.redA), marker); len(got) != 0 {
		t.Errorf("red-a got %d frames in the name of red-b from sw1", len(got))
	}
	if n := l.dropped(t, "host1", "taken-mac", "port red-b") - before; n == 0 || n > 10 {
		t.Errorf("%d of 10 frames are counted as taken-mac", n)
	}
	l.redA.send(t, experiment(l.redA.mac, l.redB.mac, 0, []byte(marker)))
	l.redB.await(t, marker)
	for _, port := range []string{"sw1", "sw2", "sw3"} {
		if _, ok := l.learned(t, port)[l.redB.mac.String()]; ok {
			t.Errorf("the MAC of red-b is learned at %s", port)
		}
	}
}

func invalidSources(t *testing.T, l *learningLab) {
	before, had := l.dropped(t, "host1", "invalid-source", "port sw1"), len(l.learned(t, "sw1"))
	marker := t.Name()
	l.sw1.send(t, experiment(net.HardwareAddr{0x03, 0, 0, 0, 0, 1}, l.redA.mac, 0, []byte(marker)),
		experiment(make(net.HardwareAddr, 6), l.redA.mac, 0, []byte(marker)),
		experiment(broadcast, l.redA.mac, 0, []byte(marker)))
	if got := marked(l.sw1.flush(t, l.redA), marker); len(got) != 0 {
		t.Errorf("%d frames from no valid source have passed", len(got))
	}
	if n := l.dropped(t, "host1", "invalid-source", "port sw1") - before; n == 0 || n > 3 {
		t.Errorf("%d of 3 frames are counted as invalid-source", n)
	}
	if n := len(l.learned(t, "sw1")); n != had {
		t.Errorf("%d MACs are learned, %d were before", n, had)
	}
}

// learnedFromIPv6: a station that speaks IPv6 only is learned and heard as any other,
// though no port of the network declares an IPv6 address.
func learnedFromIPv6(t *testing.T, l *learningLab) {
	six, marker := station{mac: behind(6), addr: netip.MustParseAddr("fd00:5::6")}, t.Name()
	to := station{mac: l.redB.mac, addr: netip.MustParseAddr("fd00:5::2")}
	l.sw3.send(t, udp(t, six, to, marker))
	l.redB.await(t, marker)
	l.awaitLearned(t, six.mac, "sw3")
}

// learnedOutlivesTheController: a controller that is killed takes nothing of what was
// learned with it, and its successor takes nothing out of the switches.
func learnedOutlivesTheController(t *testing.T, l *learningLab) {
	four := behind(4)
	l.sw2.send(t, experiment(four, broadcast, 0, nil))
	l.awaitLearned(t, four, "sw2")
	before := map[string]holds{}
	for _, host := range l.hosts {
		before[host] = l.holds(t, host)
	}
	l.restartController(t, lab.AtOnce)
	l.awaitLearned(t, four, "sw2")
	l.unchanged(t, before)
}

func learnedGoesWithThePort(t *testing.T, l *learningLab) {
	three := behind(3)
	l.sw2.send(t, experiment(three, broadcast, 0, nil))
	l.awaitLearned(t, three, "sw2")
	rows := func() (n int) {
		for _, host := range l.hosts {
			for _, f := range l.flows(t, host) {
				if f.Feature == "learned" && f.Owner == "sw2" && strings.Contains(f.Match, three.String()) {
					n++
				}
			}
		}
		return n
	}
	if n := rows(); n != 3 {
		t.Errorf("the switches have %d rows of the learned MAC, want 3: to it on both hosts, and from it on its own", n)
	}
	l.run(t, "lab", "unplug", "sw2")
	l.settled(t)
	if n := rows(); n != 0 {
		t.Errorf("%d rows are left of a port that is gone", n)
	}
	l.run(t, "lab", "plug", "sw2")
	l.settled(t)
	l.sw2 = l.guest(t, "sw2")
	if got := l.learned(t, "sw2"); len(got) != 0 {
		t.Errorf("a port that was plugged anew has learned %v", got)
	}
}

// TestMACFlood: a port that sends from 100,000 MACs learns its few, and costs its
// neighbours nothing: not those in its network, and not those of another tenant.
func TestMACFlood(t *testing.T) {
	t.Parallel()
	l := newLearningLab(t, "f")
	const frames = 100_000
	var flood sync.WaitGroup
	flood.Go(func() { floodMACs(t, l.sw1, frames) })
	eventually(t, "sw1 is full", func() bool { return l.portStatus(t, "sw1").Learning.Full })
	// In the middle of it a neighbour's station is learned, and traffic passes. On the kernel's
	// datapath the upcalls of all ports wait in the same queues, and the flood fills them: a
	// frame may be lost there, so the station sends more than one.
	station := behind(1 << 30)
	eventually(t, "the neighbour's station is learned", func() bool {
		l.sw3.send(t, experiment(station, broadcast, 0, nil))
		_, ok := l.learned(t, "sw3")[station.String()]
		return ok
	})
	l.awaitLearned(t, station, "sw3")
	l.redA.flush(t, l.redB)
	l.blueA.flush(t, l.blueB)
	l.redB.flush(t, l.redA)
	flood.Wait()
	l.settled(t)
	if got := l.portStatus(t, "sw1").Learning; got.Count != 8 || got.Limit != 8 || !got.Full {
		t.Errorf("after the flood sw1 has learned %d of %d", got.Count, got.Limit)
	}
	for _, host := range l.hosts {
		if n := len(l.flows(t, host)); n > 200 {
			t.Errorf("%s has %d flows", host, n)
		}
	}
	if n := l.dropped(t, "host1", "mac-limit", "port sw1"); n == 0 {
		t.Error("no frame is counted as mac-limit")
	}
	if n := l.guestsPacketIns(t, "host1"); n > frames/10 {
		t.Errorf("%v packet-ins came of %d frames", n, frames)
	}
	if text := l.run(t, "describe", "port", "sw1"); !strings.Contains(text, "the port is full") || !strings.Contains(text, "mac-limit") {
		t.Errorf("describe port says\n%s", text)
	}
	if text := l.problems(t); !strings.Contains(text, "port sw1 has learned the 8 source MACs it may") {
		t.Errorf("the status has the problems %q", text)
	}
	l.floodWithoutLimit(t)
}

// floodWithoutLimit is the control: with a limit out of reach the table grows with
// the flood, as fast as the meter lets it.
func (l *learningLab) floodWithoutLimit(t *testing.T) {
	t.Helper()
	topology := strings.Replace(learningTopology, "macs: 8", "macs: 4096", 1)
	l.applyText(t, topology)
	l.settled(t)
	next := uint32(1 << 20)
	eventually(t, "the table grows beyond the limit", func() bool {
		for range 100 {
			next++
			l.sw1.send(t, experiment(behind(next), broadcast, 0, nil))
		}
		return l.portStatus(t, "sw1").Learning.Count > 200
	})
}

// applyText makes another topology the lab's.
func (l *learningLab) applyText(t *testing.T, topology string) {
	t.Helper()
	if err := os.WriteFile(l.file, []byte("name: "+l.name+"\n"+strings.TrimLeft(topology, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	l.run(t, "apply", l.file)
}

// problems are those of the controller's status.
func (l *learningLab) problems(t *testing.T) string {
	t.Helper()
	st, err := l.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(st.Problems, "\n")
}

// floodMACs sends frames, each from another MAC, as fast as it goes.
func floodMACs(t *testing.T, from *guest, frames uint32) {
	for i := range frames {
		if err := from.Send(experiment(behind(1<<24+i*2654435761%(1<<24)), broadcast, 0, nil)); err != nil {
			t.Error(err)
			return
		}
	}
}

// TestMACAgeing: a station that is silent for the ageing time is forgotten, and one
// that sends is not. It sets the controller's environment, so it runs alone.
func TestMACAgeing(t *testing.T) {
	t.Setenv("OFCTL_LAB_MAC_AGEING", "4s")
	l := newLearningLab(t, "a")
	silent, chatty := behind(1), behind(2)
	l.sw1.send(t, experiment(silent, broadcast, 0, nil), experiment(chatty, broadcast, 0, nil))
	l.awaitLearned(t, silent, "sw1")
	l.awaitLearned(t, chatty, "sw1")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = l.sw1.Send(experiment(chatty, broadcast, 0, nil)) // the check below finds a failure
			case <-stop:
				return
			}
		}
	}()
	eventually(t, "the silent station is forgotten", func() bool { _, ok := l.learned(t, "sw1")[silent.String()]; return !ok })
	if _, ok := l.learned(t, "sw1")[chatty.String()]; !ok {
		t.Error("a station that sends was forgotten")
	}
	close(stop)
	<-ended
}

// guestsPacketIns are the packets that a host's switch sent to the controller, dropped ones too,
// but for the controller's own probes.
func (l *testLab) guestsPacketIns(t *testing.T, host string) float64 {
	t.Helper()
	const name = "ofctl_lab_packet_ins_total"
	of := fmt.Sprintf("host=%q", host)
	var all, probes float64
	eventually(t, "no probe comes between two readings", func() bool {
		probes = l.metric(t, name, of, `feature="reachability"`)
		all = l.metric(t, name, of)
		return l.metric(t, name, of, `feature="reachability"`) == probes
	})
	return all - probes
}
