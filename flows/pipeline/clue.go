package pipeline

import (
	"encoding/binary"

	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// ClueKind is what a Clue tells.
type ClueKind uint8

// The kinds of clues.
const (
	ClueKey    ClueKind = iota + 1 // Network has Key behind the tunnel port OFPort
	ClueMember                     // the port with the ID Owner has MAC in Network, behind OFPort (0: on another host)
	ClueHost                       // the host that holds the flow has the ID Owner
	ClueTunnel                     // OFPort is a tunnel port
)

// Clue is what a compiled flow tells about the numbers of the overlay that it was
// compiled from, to somebody who has no more than the flow.
type Clue struct {
	Kind    ClueKind
	Owner   topo.ID
	Network topo.ID
	Key     uint32
	OFPort  uint32
	MAC     topo.MAC
}

// ClueOf is what a flow tells; false if it is not ours or tells nothing.
func ClueOf(f *flows.Flow) (Clue, bool) {
	if !f.Cookie.Ours() {
		return Clue{}, false
	}
	c := Clue{Owner: topo.ID(f.Cookie.Owner())}
	exact := func(field flows.Field) (uint64, bool) {
		m, ok := f.Match.Get(field)
		return m.Value.Lo, ok && m.Mask == field.FullMask()
	}
	switch network, _ := NetworkOf(f); Table(f.Table) {
	case Classify:
		key, ok := exact(flows.TunID)
		in, hasIn := exact(flows.InPort)
		switch {
		case ok && hasIn && network != 0:
			c.Kind, c.Network, c.Key, c.OFPort = ClueKey, network, uint32(key), uint32(in)
			return c, true
		case hasIn && Feature(f.Cookie.Feature()) == DropUnknownKey:
			c.Kind, c.OFPort = ClueTunnel, uint32(in)
			return c, true
		case len(f.Match) == 0:
			c.Kind = ClueHost
			return c, true
		}
	case L2Dst:
		mac, ok := exact(flows.EthDst)
		egress, sets := egressOf(f)
		if !ok || !sets || network == 0 {
			break
		}
		c.Kind, c.Network = ClueMember, network
		c.MAC = topo.MAC(binary.BigEndian.AppendUint64(nil, mac)[2:])
		if egress != egressTunnel {
			c.OFPort = uint32(egress)
		}
		return c, true
	}
	return Clue{}, false
}

// egressOf is what a flow writes into the egress register.
func egressOf(f *flows.Flow) (uint64, bool) {
	for _, a := range f.Apply {
		if s, ok := a.(flows.SetField); ok && s.Field == regEgress {
			return s.Value.Lo, true
		}
	}
	return 0, false
}
