package topo

import (
	"fmt"
	"slices"
)

// NetworkType says what a network does with frames.
type NetworkType uint8

// The network types.
const (
	// TypeOverlay is a logical L2 segment: frames go where their destination MAC is.
	TypeOverlay NetworkType = iota
	// TypeWire is a cable between two ports: what goes in at one end comes out at
	// the other, whatever it is.
	TypeWire
)

var networkTypeNames = [...]string{TypeOverlay: "overlay", TypeWire: "wire"}

// ParseNetworkType is the type of that name: "overlay" or "wire".
func ParseNetworkType(name string) (NetworkType, error) {
	if i := slices.Index(networkTypeNames[:], name); i >= 0 {
		return NetworkType(i), nil
	}
	return 0, fmt.Errorf("unknown network type %q; use overlay or wire", name)
}

// String is the name.
func (t NetworkType) String() string {
	if int(t) < len(networkTypeNames) {
		return networkTypeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// MarshalText is the name; it fails for a value that is no network type.
func (t NetworkType) MarshalText() ([]byte, error) {
	if int(t) >= len(networkTypeNames) {
		return nil, fmt.Errorf("%d is no network type", uint8(t))
	}
	return []byte(t.String()), nil
}

// UnmarshalText takes what ParseNetworkType takes.
func (t *NetworkType) UnmarshalText(text []byte) (err error) {
	*t, err = ParseNetworkType(string(text))
	return err
}

// Carrier says what the end of a wire shows its guest when the other end has no link.
type Carrier uint8

// The ways of carrier.
const (
	// CarrierIgnore leaves the link of an end as it is.
	CarrierIgnore Carrier = iota
	// CarrierPropagate takes an end's link down while the other end has none.
	CarrierPropagate
)

var carrierNames = [...]string{CarrierIgnore: "ignore", CarrierPropagate: "propagate"}

// ParseCarrier is the way of that name: "ignore" or "propagate".
func ParseCarrier(name string) (Carrier, error) {
	if i := slices.Index(carrierNames[:], name); i >= 0 {
		return Carrier(i), nil
	}
	return 0, fmt.Errorf("unknown carrier %q; use ignore or propagate", name)
}

// String is the name.
func (c Carrier) String() string {
	if int(c) < len(carrierNames) {
		return carrierNames[c]
	}
	return fmt.Sprintf("carrier(%d)", uint8(c))
}

// MarshalText is the name; it fails for a value that is no way of carrier.
func (c Carrier) MarshalText() ([]byte, error) {
	if int(c) >= len(carrierNames) {
		return nil, fmt.Errorf("%d is no way of carrier", uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText takes what ParseCarrier takes.
func (c *Carrier) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCarrier(string(text))
	return err
}

// IsWire reports whether the network is a wire.
func (n *Network) IsWire() bool { return n.Type == TypeWire }

// PropagatesCarrier reports whether the network is a wire whose ends show each
// other's loss of link.
func (n *Network) PropagatesCarrier() bool { return n.IsWire() && n.Carrier == CarrierPropagate }

// wireEnds is how many ports a wire has at most.
const wireEnds = 2

// checkNetworkType checks what the type of a network allows.
func (c *commit) checkNetworkType(n *Network) {
	bad := func(field, what, hint string) {
		c.problems.add(&Problem{Object: KindNetwork + " " + n.FullName(), Field: field, What: what, Hint: hint})
	}
	if n.Type > TypeWire {
		bad("type", fmt.Sprintf("%d is no network type", uint8(n.Type)), "use overlay or wire")
	}
	if n.Carrier > CarrierPropagate {
		bad("carrier", fmt.Sprintf("%d is no way of carrier", uint8(n.Carrier)), "use ignore or propagate")
	}
	if n.Carrier == CarrierPropagate && n.Type == TypeOverlay {
		bad("carrier", "only a wire has another end whose carrier could be propagated", "make the network a wire (type: wire), or remove carrier")
	}
	if n.IsWire() && n.Answer != AnswerBound {
		bad("answer", "a wire answers for no port: it has no addresses", "leave it out, or make the network an overlay")
	}
	if n.IsWire() && len(n.Subnets) > 0 {
		bad("subnets", "a wire has no subnets: it carries every frame and looks into none", "remove the subnets, or make the network an overlay")
	}
}

// checkWire checks the ports of a wire: access ports without addresses, and two
// at most.
func (c *commit) checkWire(n *Network, seats []seat) {
	wire := KindNetwork + " " + n.FullName()
	// What is there already stays; what is put in this Txn is complained about.
	slices.SortStableFunc(seats, func(a, b seat) int { return c.isPut(a.port) - c.isPut(b.port) })
	for i, s := range seats {
		object := KindPort + " " + s.port.Name
		switch {
		case s.sub != nil:
			c.problems.add(&Problem{Object: object, Field: s.field("network"), Other: wire,
				What: fmt.Sprintf("network %s is a wire, which carries tagged frames itself and is on no trunk", n.FullName()),
				Hint: "give the port the wire as its network, without a trunk, or make the network an overlay"})
		case len(s.addresses) > 0:
			c.problems.add(&Problem{Object: object, Field: s.field("addresses"), Other: wire,
				What: fmt.Sprintf("network %s is a wire: its ports have no addresses that the controller would know", n.FullName()),
				Hint: "remove the addresses, or make the network an overlay"})
		}
		if i >= wireEnds {
			c.problems.add(&Problem{Object: object, Field: s.field("network"), Other: wire,
				What: fmt.Sprintf("network %s is a wire, and its two ends are port %s and port %s already", n.FullName(), seats[0].port.Name, seats[1].port.Name),
				Hint: "give the port a wire of its own, or make the network an overlay"})
		}
	}
}

// isPut is 1 for a port that differs in this Txn, and 0 for one that was so before.
func (c *commit) isPut(p *Port) int {
	if c.ports[p.Name] != nil {
		return 1
	}
	return 0
}
