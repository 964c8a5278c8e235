package topo

import (
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

// Network is one logical L2 segment of a tenant.
type Network struct {
	ID     ID
	UUID   uuid.UUID
	Tenant string // the tenant's name
	Name   string // unique within the tenant
	Encap  Encap
	// Key is the tunnel key: a GRE key or a VXLAN or Geneve VNI, unique within
	// the encapsulation.
	Key uint32
	// KeyAllocated says that the key was allocated rather than asked for.
	KeyAllocated bool
	Subnets      []netip.Prefix
}

// FullName is "tenant/network", the name by which other objects refer to it.
func (n *Network) FullName() string { return n.Tenant + "/" + n.Name }
