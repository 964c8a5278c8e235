package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/churn"
)

// outlook is what the guests know of the world when they send.
type outlook struct {
	slots    []churn.Slot
	ports    map[churn.Slot]topo.Port
	places   map[churn.Slot][]churn.Place
	networks map[churn.Place]string // with its generation
}

func outlookOf(w *churn.World) *outlook {
	o := &outlook{slots: w.Slots(), ports: map[churn.Slot]topo.Port{}, places: map[churn.Slot][]churn.Place{}, networks: map[churn.Place]string{}}
	for _, s := range o.slots {
		if p, ok := w.Guest(s); ok {
			o.ports[s] = p
		}
	}
	for at, n := range w.Places() {
		o.places[at.Slot] = append(o.places[at.Slot], at)
		o.networks[at] = fmt.Sprintf("%s, generation %d", n, w.Generation(n))
	}
	return o
}

// churnTraffic sends frames from all slots, whatever is changed, and captures at all.
type churnTraffic struct {
	guests map[churn.Slot]*guest
	judge  *churnJudge
	now    atomic.Pointer[outlook]
	sent   atomic.Uint64
}

// How often frames are sent, and how many then. It is what a userspace datapath that
// has a third of a core takes.
const (
	churnPause = time.Millisecond
	churnBurst = 3
)

// run sends until ctx ends.
func (c *churnTraffic) run(ctx context.Context) error {
	tick := time.NewTicker(churnPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		o := c.now.Load()
		for range churnBurst {
			s := oneOf(o.slots)
			f, err := o.frame(s)
			if err == nil {
				err = c.guests[s].Send(f)
			}
			if err != nil {
				return err
			}
			c.sent.Add(1)
		}
	}
}

// capture hands what the guest at a slot is given to the judge, until ctx ends.
func (c *churnTraffic) capture(ctx context.Context, s churn.Slot) error {
	for f, err := range c.guests[s].Frames(ctx) {
		if err != nil {
			return err
		}
		if f.Direction == netdev.Received {
			c.judge.captured(s, f)
		}
	}
	stats, err := c.guests[s].Stats()
	if err == nil && stats.Dropped > 0 {
		err = fmt.Errorf("the capture at %s lost %d frames", s, stats.Dropped)
	}
	return err
}

func oneOf[E any](list []E) E { return list[rand.IntN(len(list))] }

// someStation is that of some port of any tenant, or of nobody.
func someStation() station {
	n := byte(1 + rand.IntN(churn.MACs))
	s := station{net.HardwareAddr{2, 0xc4, 0, 0, 0, n}, netip.AddrFrom4([4]byte{10, 0, 0, n})}
	if rand.IntN(10) == 0 {
		s.mac = net.HardwareAddr{2, 0xc4, 0, 0, 1, n}
	}
	return s
}

// frame is what the guest at a slot sends: to known MACs and to everybody; ARP, IP and
// neither; as itself and as others; with tags that its port has and with all others.
func (o *outlook) frame(s churn.Slot) ([]byte, error) {
	src, dst := someStation(), someStation()
	if p, ok := o.ports[s]; ok && rand.IntN(4) > 0 {
		src = station{p.MAC[:], netip.AddrFrom4([4]byte{10, 0, 0, p.MAC[5]})}
	}
	switch rand.IntN(6) {
	case 0, 1:
		dst.mac = broadcast
	case 2:
		dst.mac = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	}
	m := churnMark{Slot: s, Tags: o.tags(s), Label: "no network"}
	for _, vlan := range []int{entryVLAN(m.Tags), churn.AnyVLAN} {
		if n := o.networks[churn.Place{Slot: s, VLAN: vlan}]; n != "" {
			m.Label = n
		}
	}
	return m.frame(src, dst, oneOf([]layers.EthernetType{layers.EthernetTypeARP, layers.EthernetTypeIPv4, etherExperiment, etherExperiment}))
}

// tags are mostly those of one of the slot's networks.
func (o *outlook) tags(s churn.Slot) []uint16 {
	any := func() uint16 {
		if rand.IntN(2) == 0 {
			return oneOf(churn.VLANs)
		}
		return uint16(rand.IntN(4096))
	}
	switch n := rand.IntN(12); {
	case n == 0:
		return []uint16{any(), any()}
	case n < 4:
		return []uint16{any()}
	}
	if places := o.places[s]; len(places) > 0 {
		if at := oneOf(places); at.VLAN > 0 {
			return []uint16{uint16(at.VLAN)}
		}
	}
	return nil
}

// frame is a frame with the mark and its tags, which has in it that it is sent now.
func (m churnMark) frame(src, dst station, kind layers.EthernetType) ([]byte, error) {
	eth := &layers.Ethernet{SrcMAC: src.mac, DstMAC: dst.mac, EthernetType: kind}
	ls := []gopacket.SerializableLayer{eth}
	for i, id := range m.Tags {
		next := layers.EthernetTypeDot1Q
		if i == len(m.Tags)-1 {
			next = kind
		}
		eth.EthernetType = layers.EthernetTypeDot1Q
		ls = append(ls, &layers.Dot1Q{VLANIdentifier: id, Type: next})
	}
	switch kind {
	case layers.EthernetTypeARP:
		op, target := uint16(layers.ARPRequest), make(net.HardwareAddr, 6)
		if rand.IntN(3) == 0 {
			op, target = layers.ARPReply, dst.mac
		}
		m.Asks = op == layers.ARPRequest
		ls = append(ls, &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: op, SourceHwAddress: src.mac, SourceProtAddress: src.addr.AsSlice(), DstHwAddress: target, DstProtAddress: dst.addr.AsSlice()})
	case layers.EthernetTypeIPv4:
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.addr.AsSlice(), DstIP: dst.addr.AsSlice()}
		u := &layers.UDP{SrcPort: 9, DstPort: 9}
		if err := u.SetNetworkLayerForChecksum(ip); err != nil {
			return nil, err
		}
		ls = append(ls, ip, u)
	}
	m.Sent = time.Now()
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(ls, gopacket.Payload(m.bytes()))...)
	return buf.Bytes(), err
}

// churnTokens numbers the frames whose arrival is waited for.
var churnTokens atomic.Uint64

// churnProbe is a frame that all other places of its network must be given.
type churnProbe struct {
	churnMark
	to []churn.Slot // that it has not come to yet
}

// probes are one from each place that shares its network.
func probes(w *churn.World) (out []*churnProbe) {
	members := map[string][]churn.Place{}
	for at, n := range w.Places() {
		members[n] = append(members[n], at)
	}
	for n, places := range members {
		for _, from := range places {
			p := &churnProbe{churnMark: churnMark{Slot: from.Slot, Token: churnTokens.Add(1), Label: n}}
			if from.VLAN > 0 {
				p.Tags = []uint16{uint16(from.VLAN)}
			}
			for _, to := range places {
				if to.Slot != from.Slot {
					p.to = append(p.to, to.Slot)
				}
			}
			if len(p.to) > 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

// reach holds that in every network each place reaches all others.
func (c *churnTraffic) reach(t *testing.T, w *churn.World) {
	t.Helper()
	open := probes(w)
	for _, p := range open {
		c.judge.await(p.Token)
		defer c.judge.forget(p.Token)
	}
	send := func() {
		for _, p := range open {
			port, _ := w.Guest(p.Slot)
			f, err := p.frame(station{mac: port.MAC[:]}, station{mac: broadcast}, etherExperiment)
			if err == nil {
				err = c.guests[p.Slot].Send(f)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	// A tunnel that was made a moment ago loses frames, and so does a datapath that has
	// a small part of a core.
	again := time.NewTicker(resendAfter / 4)
	defer again.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for send(); ; {
		var still []*churnProbe
		for _, p := range open {
			if p.to = c.judge.missing(p.Token, p.to); len(p.to) > 0 {
				still = append(still, p)
			}
		}
		if open = still; len(open) == 0 {
			return
		}
		select {
		case <-c.judge.arrived:
		case <-again.C:
			send()
		case <-deadline.C:
			for _, p := range open {
				t.Errorf("what is sent from %s with tags %v into %s does not come to %v", p.Slot, p.Tags, p.Label, p.to)
			}
			t.FailNow()
		}
	}
}
