package topo

import (
	"net/netip"

	"github.com/google/uuid"
)

// Host is a machine with an integration bridge and a tunnel endpoint.
type Host struct {
	ID   ID        `json:"id"`
	UUID uuid.UUID `json:"uuid"`
	Name string    `json:"name"`
	// TEP is the tunnel endpoint address, IPv4 or IPv6, unique among hosts. It
	// is the declared one if there is one, otherwise the one observed. It is
	// invalid while neither is known or when the observed one belongs to
	// another host (see Snapshot.HostProblems); such a host cannot be reached.
	TEP netip.Addr `json:"tep,omitzero"`
	// Declared says that the host is part of the desired state; a host that
	// joined without being declared is observed only.
	Declared bool `json:"declared,omitempty"`
	// Tunnels are the OpenFlow numbers of the host's flow-based tunnel ports.
	// Observed; empty while the host has not reported them.
	Tunnels [4]uint32 `json:"-"` // indexed by Encap; 0 means no such port
}

// Tunnel is the OpenFlow number of the host's tunnel port for e, 0 if there is none.
func (h *Host) Tunnel(e Encap) uint32 {
	if !e.Valid() {
		return 0
	}
	return h.Tunnels[e]
}
