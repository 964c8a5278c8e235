package topo

import "net/netip"

// Trunk is what a trunk port carries. A network is on a trunk at most once.
type Trunk struct {
	// Native is where untagged and priority-tagged (VID 0) frames belong; nil
	// means that they are dropped.
	Native *SubPort `json:"native,omitempty"`
	// VLANs are in ascending order of VLAN.
	VLANs []SubPort `json:"vlans,omitempty"`
}

// SubPort is one network of a trunk.
type SubPort struct {
	VLAN    uint16 `json:"vlan,omitempty"` // 1 … 4094; 0 on the native network
	Network string `json:"network"`        // full name
	// Addresses are the guest's addresses in that network, if declared.
	Addresses []netip.Addr `json:"addresses,omitempty"`
}
