package topo

import (
	"net/netip"

	"github.com/google/uuid"
)

// Profile says what kind of guest is behind a port.
type Profile uint8

// The port profiles.
const (
	ProfileHost   Profile = iota // one MAC, guarded strictly
	ProfileSwitch                // a switch or router: many MACs
)

// Port is a logical port. It is known to a switch by external_ids:iface-id,
// which is the port's name or its UUID.
type Port struct {
	ID      ID
	UUID    uuid.UUID
	Name    string // unique among all ports
	MAC     MAC
	Profile Profile
	// Network is the full name of the port's network; empty on a trunk.
	Network string
	// Addresses are the port's fixed addresses in Network; empty on a trunk.
	Addresses []netip.Addr
	// Trunk is set on a trunk port and nil on an access port.
	Trunk *Trunk

	// Host, Netns and Interface say where a lab creates the attachment. They do
	// not bind: a port is where its iface-id is observed.
	Host, Netns, Interface string
}
