package e2e

import (
	"fmt"
	"net"
	"testing"
)

// controlProtocol is a control protocol: where it is sent, what follows the source
// address, and under which name it is dropped.
type controlProtocol struct {
	name   string
	dst    net.HardwareAddr
	header []byte
	reason string
}

// controlProtocols are the protocols between neighbours, on every address that they
// have in common.
func controlProtocols() []controlProtocol {
	reserved := func(last byte) net.HardwareAddr { return net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, last} }
	cisco := func(last byte) net.HardwareAddr { return net.HardwareAddr{0x01, 0, 0x0c, 0xcc, 0xcc, last} }
	snap := func(protocol ...byte) []byte { return append([]byte{0, 39, 0xaa, 0xaa, 3, 0, 0, 0x0c}, protocol...) }
	stp := []byte{0, 39, 0x42, 0x42, 3, 0, 0, 0, 0} // over LLC, IEEE 802.1D-2004 clause 9
	lldp := []byte{0x88, 0xcc, 2, 7, 4}             // IEEE 802.1AB-2016 clause 7
	lacp := []byte{0x88, 0x09, 1, 1}                // IEEE 802.1AX-2014 clause 6
	pause := []byte{0x88, 0x08, 0, 1, 0xff, 0xff}   // IEEE 802.3-2018 annex 31B
	return []controlProtocol{
		{"STP", reserved(0x00), stp, "control-stp"},
		{"provider STP", reserved(0x08), stp, "control-stp"},
		{"PVST+", cisco(0xcd), snap(0x01, 0x0b), "control-stp"},
		{"LLDP nearest bridge", reserved(0x0e), lldp, "control-lldp"},
		{"LLDP nearest customer bridge", reserved(0x00), lldp, "control-lldp"},
		{"LLDP nearest non-TPMR bridge", reserved(0x03), lldp, "control-lldp"},
		{"LACP", reserved(0x02), lacp, "control-lacp"},
		{"LACP nearest non-TPMR bridge", reserved(0x03), lacp, "control-lacp"},
		{"LACP to everybody", broadcast, lacp, "control-lacp"},
		{"LACP to a station", net.HardwareAddr{2, 0, 0, 0, 0x77, 1}, lacp, "control-lacp"},
		{"LLDP to everybody", broadcast, lldp, "control-lldp"},
		{"LLDP to a station", net.HardwareAddr{2, 0, 0, 0, 0x77, 1}, lldp, "control-lldp"},
		{"EAPOL", reserved(0x03), []byte{0x88, 0x8e, 1, 1}, "control-8021x"},
		{"PAUSE", reserved(0x01), pause, "control-pause"},
		{"PAUSE to everybody", broadcast, pause, "control-pause"},
		{"CDP", cisco(0xcc), snap(0x20, 0x00), "control-cdp"},
		{"UDLD", cisco(0xcc), snap(0x01, 0x11), "control-cdp"},
		{"MVRP of a provider", reserved(0x0d), []byte{0x88, 0xf5, 0}, "control-frame"},
		{"PTP peer delay", reserved(0x0e), []byte{0x88, 0xf7, 2}, "control-frame"},
	}
}

// frame is a frame of the protocol; tags come in front of its header.
func (p controlProtocol) frame(src net.HardwareAddr, marker string, tags ...tag) []byte {
	f := tagged(src, p.dst, "", tags...)
	n := 12 + 4*len(tags)
	return append(append(f[:n:n], p.header...), fmt.Appendf(nil, "%-60s", marker)...)
}

// controlFrames: protocols between neighbours end at the port, counted under the
// name of each, untagged and in a VLAN, and also where the trunk has no network for
// untagged frames.
func controlFrames(t *testing.T, l *trunkLab) {
	for _, p := range controlProtocols() {
		t.Run(p.name, func(t *testing.T) {
			marker := t.Name() + ";"
			send := func() {
				l.left.send(t, p.frame(l.left.mac, marker), p.frame(l.left.mac, marker, tag{cTag, 0, 10}))
				l.redL.send(t, p.frame(l.redL.mac, marker))
				l.mute.send(t, p.frame(l.mute.mac, marker))
			}
			l.mustDrop(t, drop{"host1", p.reason, "host host1"}, marker, 4, send, way{l.left.on(10), l.near}, way{l.redL, l.redR}, way{l.left, l.mgmtR})
		})
	}
	t.Run("control", func(t *testing.T) {
		marker := t.Name() + ";"
		flow := fmt.Sprintf("table=0,priority=399,in_port=%d,actions=load:%d->NXM_NX_REG0[],goto_table:70",
			l.portStatus(t, "red-l").OFPort, l.networkID(t, "red/web"))
		l.mustPass(t, "host1", flow, marker, func() {
			for _, p := range controlProtocols() {
				l.redL.send(t, p.frame(l.redL.mac, marker))
			}
		}, way{l.redL, l.near}) // another host drops them once more
	})
}
