package pipeline

import "github.com/ofctl-lab/ofctl-lab/flows"

// Ethernet types of control protocols.
const (
	etherMACControl = 0x8808 // IEEE 802.3 clause 31
	etherSlow       = 0x8809 // IEEE 802.3 annex 57A
	etherEAPOL      = 0x888e // IEEE 802.1X section 11
	etherLLDP       = 0x88cc // IEEE 802.1AB section 7
	// etherNone is how Open vSwitch sees a frame with a length in place of a type,
	// and an LLC header that is not SNAP with an Ethernet type.
	etherNone = 0x05ff
)

// Group addresses of control protocols.
const (
	macReserved       = 0x0180c2000000 // … 0f: no bridge forwards them (IEEE 802.1Q table 8-1)
	macReservedMask   = 0xfffffffffff0
	macSTP            = 0x0180c2000000
	macProviderBridge = 0x0180c2000008 // spanning tree of provider bridges (IEEE 802.1Q table 8-2)
	macCisco          = 0x01000ccccccc
	macPVST           = 0x01000ccccccd
)

// classifyControlFrames drop, each under its protocol's name, the frames that are
// meant for the next switch and not for those behind it. Passed on they would make
// guests neighbours, or parts of one spanning tree, that have no cable between them.
//
// Several protocols share an address: LLDP uses those of spanning tree and of
// 802.1X too, so the Ethernet type says what a frame is, where it has one. The rows
// are in classify, so that a frame is named also on a trunk whose native network it
// would be in if there were one. Wires are above them.
func classifyControlFrames(r *rows) {
	reserved := match().WithMask(flows.EthDst, flows.U(macReserved), flows.U(macReservedMask))
	// These are for the other end of a cable whatever address they are sent to: MAC
	// Control has that end's own as well (IEEE 802.3 annex 31B.1), slow protocols have
	// no meaning farther away, and receivers (Linux' bonding) do not look whether an
	// LACPDU came to the group; LLDP may be sent to a station (IEEE 802.1AB-2016
	// clause 7.1), which would be shown as a neighbour.
	for _, p := range []struct {
		etherType uint64
		reason    Feature
	}{{etherLLDP, DropLLDP}, {etherSlow, DropSlow}, {etherMACControl, DropPause}} {
		r.drop(Classify, classifyProtocol, p.reason, match().With(flows.EthType, flows.U(p.etherType)))
	}
	// 802.1X is not only spoken over cables: to a station it may go on.
	r.drop(Classify, classifyProtocol, Drop8021X, reserved.With(flows.EthType, flows.U(etherEAPOL)))
	for _, mac := range []uint64{macSTP, macProviderBridge} {
		r.drop(Classify, classifyControl, DropSTP,
			match().With(flows.EthDst, flows.U(mac)).With(flows.EthType, flows.U(etherNone)))
	}
	r.drop(Classify, classifyControl, DropSTP, match().With(flows.EthDst, flows.U(macPVST)))
	r.drop(Classify, classifyControl, DropCisco, match().With(flows.EthDst, flows.U(macCisco)))
	r.drop(Classify, classifyControlAny, DropControlFrame, reserved)
}
