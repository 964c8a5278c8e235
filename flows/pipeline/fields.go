package pipeline

import f "github.com/ofctl-lab/ofctl-lab/flows"

// The register map: every bit that travels with a packet through the tables.
//
//	reg0  0…23  network    the network's ID
//	reg1  0…1   origin     0 from a local port, 1 from a tunnel, 2 from a local port that learns
//	reg2  0…16  egress     OpenFlow number of the local port, or egressTunnel
//
// In the pipeline a frame has one of two forms: untagged, or with a tag of
// VLAN ID 0 that carries the priority bits of a frame from a trunk (IEEE
// 802.1Q-2018 section 6.9, priority-tagged). No other tag gets past classify,
// but for those of a wire, whose frames no table changes.
const (
	regNetwork = f.Reg0
	regOrigin  = f.Reg1
	regEgress  = f.Reg2
)

const (
	originLocal  = 0
	originTunnel = 1
	originSwitch = 2 // of profile switch: rows about what others may send do not mean it

	// egressTunnel lies above every number Open vSwitch gives a port (65,279).
	egressTunnel = 0x10000

	// vlanPresent is the bit of a TCI or OXM VLAN_VID that says "has a tag".
	vlanPresent = 0x1000
)

// The Ethernet types the pipeline tells apart.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd
	etherSTag = 0x88a8
)

// untag removes a frame's tag if it has one.
func untag() f.Action { return f.Set(f.VLANTCI, f.U(0)) }

// setVID gives the frame the VLAN ID, with a tag if it has none; priority bits
// stay.
func setVID(vid uint16) f.Action { return f.SetBits(f.VLANTCI, 0, 13, vlanPresent|uint64(vid)) }

// GroupBase … GroupBase+0x3fffffff are the numbers of our groups: groups carry
// no cookie, so the range says whose they are. The low 24 bits are the
// network's ID, the six above them the part of a flood too large for one group.
const (
	GroupBase    = f.GroupMin
	groupPartMax = 0x3f
)
