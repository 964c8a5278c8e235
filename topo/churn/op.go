package churn

import (
	"fmt"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Op is one change: PutTenant, DeleteTenant, PutNetwork, DeleteNetwork, PutPort,
// DeletePort or Plug.
type Op interface {
	fmt.Stringer
	op()
}

// PutTenant declares a tenant.
type PutTenant struct{ Name string }

// DeleteTenant deletes a tenant that has no networks.
type DeleteTenant struct{ Name string }

// PutNetwork declares a network or changes it. A Key of 0 asks for an allocated one. The
// key may be one that another network has just given up: who keeps those back for a
// while has to let go of it first.
type PutNetwork struct{ Network topo.Network }

// DeleteNetwork deletes the network of a full name, which has no ports.
type DeleteNetwork struct{ Name string }

// PutPort declares a port or changes it.
type PutPort struct{ Port topo.Port }

// DeletePort deletes a port.
type DeletePort struct{ Name string }

// Plug gives an interface an iface-id in the place of the one it had, all in one
// transaction of the host if the interfaces of several Slots change hands. The iface-id
// is the name of a port, which may not be declared, or empty.
type Plug struct {
	Slots    []Slot
	IfaceIDs []string // of Slots, in their order
}

func (PutTenant) op()     {}
func (DeleteTenant) op()  {}
func (PutNetwork) op()    {}
func (DeleteNetwork) op() {}
func (PutPort) op()       {}
func (DeletePort) op()    {}
func (Plug) op()          {}

func (o PutTenant) String() string     { return "put tenant " + o.Name }
func (o DeleteTenant) String() string  { return "delete tenant " + o.Name }
func (o DeleteNetwork) String() string { return "delete network " + o.Name }
func (o DeletePort) String() string    { return "delete port " + o.Name }

func (o PutNetwork) String() string {
	n := &o.Network
	key := "a key"
	if n.Key != 0 {
		key = fmt.Sprintf("key %d", n.Key)
	}
	return fmt.Sprintf("put %s %s, %s %s, answer %s", n.Type, n.FullName(), n.Encap, key, n.Answer)
}

func (o PutPort) String() string {
	p := &o.Port
	part := func(network string, addresses int) string {
		if addresses > 0 {
			return network + " with an address"
		}
		return network
	}
	where := part(p.Network, len(p.Addresses))
	if t := p.Trunk; t != nil {
		var parts []string
		if t.Native != nil {
			parts = append(parts, "native "+part(t.Native.Network, len(t.Native.Addresses)))
		}
		for _, v := range t.VLANs {
			parts = append(parts, fmt.Sprintf("%d %s", v.VLAN, part(v.Network, len(v.Addresses))))
		}
		where = strings.Join(parts, ", ")
	}
	return fmt.Sprintf("put port %s (%s, %s): %s", p.Name, p.Profile, p.MAC, where)
}

func (o Plug) String() string {
	var parts []string
	for i, s := range o.Slots {
		id := o.IfaceIDs[i]
		if id == "" {
			id = "nothing"
		}
		parts = append(parts, fmt.Sprintf("%s into %s", id, s))
	}
	return "plug " + strings.Join(parts, ", ")
}

// Slot is an interface of a host's bridge, by numbers from 0. It has the same OpenFlow
// number for ever.
type Slot struct{ Host, Interface int }

func (s Slot) String() string { return fmt.Sprintf("slot %d/%d", s.Host, s.Interface) }

// AnyVLAN is the VLAN of a Place on a wire, which takes all frames of its slot.
const AnyVLAN = -1

// Place is where frames of one network enter and leave: a VLAN of a slot, 0 for frames
// without a tag and those that are tagged for their priority only.
type Place struct {
	Slot
	VLAN int
}

func (p Place) String() string {
	switch p.VLAN {
	case 0:
		return p.Slot.String()
	case AnyVLAN:
		return p.Slot.String() + " as the end of a wire"
	}
	return fmt.Sprintf("%s VLAN %d", p.Slot, p.VLAN)
}
