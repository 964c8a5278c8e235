package traffic

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The request is what an independent decoder takes for one.
func TestARPRequest(t *testing.T) {
	p := gopacket.NewPacket(ARPRequest(near, far.Addr), layers.LayerTypeEthernet, gopacket.Default)
	arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if p.ErrorLayer() != nil || !ok {
		t.Fatalf("not ARP: %v", p)
	}
	if arp.Operation != layers.ARPRequest || arp.AddrType != layers.LinkTypeEthernet || arp.Protocol != layers.EthernetTypeIPv4 ||
		!bytes.Equal(arp.SourceHwAddress, near.MAC) || !bytes.Equal(arp.SourceProtAddress, near.Addr.AsSlice()) ||
		!bytes.Equal(arp.DstProtAddress, far.Addr.AsSlice()) {
		t.Errorf("request: %+v", arp)
	}
}

func TestResolve(t *testing.T) {
	a, _ := pair(t)
	mac, err := Resolve(t.Context(), wire(t, a), near, far.Addr)
	if err != nil || !bytes.Equal(mac, far.MAC) {
		t.Errorf("%s is at %s: %v", far.Addr, mac, err)
	}
}

func TestResolveNobody(t *testing.T) {
	a, _ := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if mac, err := Resolve(ctx, wire(t, a), near, netip.MustParseAddr("10.0.0.9")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody is at %s: %v", mac, err)
	}
}

// Only the reply of the target to the asker is an answer.
func TestWhatIsAnAnswer(t *testing.T) {
	reply := ARPRequest(far, near.Addr)
	reply[etherLen+arpOperation+1] = arpReply
	changed := func(at int, b byte) []byte {
		f := bytes.Clone(reply)
		f[at] = b
		return f
	}
	for name, c := range map[string]struct {
		frame netdev.Frame
		want  bool
	}{
		"the reply":       {netdev.Frame{Data: reply}, true},
		"sent, not got":   {netdev.Frame{Data: reply, Direction: netdev.Sent}, false},
		"a request":       {netdev.Frame{Data: ARPRequest(far, near.Addr)}, false},
		"another type":    {netdev.Frame{Data: changed(13, 0)}, false},
		"another's":       {netdev.Frame{Data: changed(etherLen+arpSenderIP+3, 77)}, false},
		"for another":     {netdev.Frame{Data: changed(etherLen+arpTargetIP+3, 77)}, false},
		"cut off":         {netdev.Frame{Data: reply[:len(reply)-1]}, false},
		"nothing of ours": {netdev.Frame{}, false},
	} {
		if mac, ok := arpAnswer(c.frame, near.Addr, far.Addr); ok != c.want || ok && !bytes.Equal(mac, far.MAC) {
			t.Errorf("%s: %s, %v", name, mac, ok)
		}
	}
}
