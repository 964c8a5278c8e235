package topo

import (
	"fmt"
	"net/netip"

	"github.com/google/uuid"
)

// Encap is a tunnel encapsulation.
type Encap uint8

// The encapsulations. The zero value is none.
const (
	GRE    Encap = iota + 1 // RFC 2890, 32-bit key
	VXLAN                   // RFC 7348, 24-bit VNI
	Geneve                  // RFC 8926, 24-bit VNI
)

var encapNames = [...]string{GRE: "gre", VXLAN: "vxlan", Geneve: "geneve"}

// ParseEncap is the encapsulation of that name: "gre", "vxlan" or "geneve".
func ParseEncap(name string) (Encap, error) {
	for e := GRE; e <= Geneve; e++ {
		if encapNames[e] == name {
			return e, nil
		}
	}
	return 0, fmt.Errorf("unknown encapsulation %q; use gre, vxlan or geneve", name)
}

// Valid reports whether e is one of the encapsulations.
func (e Encap) Valid() bool { return e >= GRE && e <= Geneve }

// String is the name, as Open vSwitch spells the tunnel type.
func (e Encap) String() string {
	if e.Valid() {
		return encapNames[e]
	}
	return fmt.Sprintf("encap(%d)", uint8(e))
}

// MarshalText is the name; it fails for a value that is no encapsulation.
func (e Encap) MarshalText() ([]byte, error) {
	if !e.Valid() {
		return nil, fmt.Errorf("%d is no encapsulation", uint8(e))
	}
	return []byte(e.String()), nil
}

// UnmarshalText takes what ParseEncap takes.
func (e *Encap) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEncap(string(text))
	return err
}

// Network is one logical L2 segment of a tenant.
type Network struct {
	ID     ID        `json:"id"`
	UUID   uuid.UUID `json:"uuid"`
	Tenant string    `json:"tenant"` // the tenant's name
	Name   string    `json:"name"`   // unique within the tenant
	Encap  Encap     `json:"encap"`
	// Key is the tunnel key: a GRE key or a VXLAN or Geneve VNI, unique within
	// the encapsulation.
	Key uint32 `json:"key"`
	// KeyAllocated says that the key was allocated rather than asked for.
	KeyAllocated bool `json:"key_allocated,omitempty"`
	// Type is what the network does with frames, and Carrier what a wire does with
	// the link of its ends; CarrierIgnore on any other network.
	Type    NetworkType `json:"type,omitempty"`
	Carrier Carrier     `json:"carrier,omitempty"`
	// Subnets are the network's address ranges, without host bits and disjoint;
	// none on a wire.
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	// Answer says for which ports of the network ARP requests are answered.
	Answer Answer `json:"answer,omitempty"`
}

// FullName is "tenant/network", the name by which other objects refer to it.
func (n *Network) FullName() string { return n.Tenant + "/" + n.Name }
