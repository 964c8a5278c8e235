package topo

import (
	"fmt"
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

// ParseProfile is the profile of that name: "host" or "switch".
func ParseProfile(name string) (Profile, error) {
	switch name {
	case "host":
		return ProfileHost, nil
	case "switch":
		return ProfileSwitch, nil
	}
	return 0, fmt.Errorf("unknown profile %q; use host or switch", name)
}

// String is the name.
func (p Profile) String() string {
	switch p {
	case ProfileHost:
		return "host"
	case ProfileSwitch:
		return "switch"
	}
	return fmt.Sprintf("profile(%d)", uint8(p))
}

// MarshalText is the name; it fails for a value that is no profile.
func (p Profile) MarshalText() ([]byte, error) {
	if p > ProfileSwitch {
		return nil, fmt.Errorf("%d is no port profile", uint8(p))
	}
	return []byte(p.String()), nil
}

// UnmarshalText takes what ParseProfile takes.
func (p *Profile) UnmarshalText(text []byte) (err error) {
	*p, err = ParseProfile(string(text))
	return err
}

// Port is a logical port. It is known to a switch by external_ids:iface-id,
// which is the port's name or its UUID.
type Port struct {
	ID      ID        `json:"id"`
	UUID    uuid.UUID `json:"uuid"`
	Name    string    `json:"name"` // unique among all ports
	MAC     MAC       `json:"mac"`
	Profile Profile   `json:"profile"`
	// Network is the full name of the port's network; empty on a trunk.
	Network string `json:"network,omitempty"`
	// Addresses are the port's fixed addresses in Network; empty on a trunk.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// MACs is the most source MACs to learn at a port of profile switch, 1 to MaxMACs;
	// 0 for DefaultMACs. See MACLimit.
	MACs int `json:"macs,omitempty"`
	// Trunk is set on a trunk port and nil on an access port.
	Trunk *Trunk `json:"trunk,omitempty"`

	// Host, Netns and Interface say where a lab creates the attachment. They do
	// not bind: a port is where its iface-id is observed.
	Host      string `json:"host,omitempty"`
	Netns     string `json:"netns,omitempty"`
	Interface string `json:"interface,omitempty"`
	// Guest is the name of the virtual machine whose network card the port is, empty
	// if it is none. Netns is empty then, and Interface is the guest's own name
	// of the card. It does not bind either.
	Guest string `json:"guest,omitempty"`

	// MigrateTo is the host that the port is being migrated to, AnyHost for
	// whichever shows it next, or empty. While it is set, a second claim from there
	// is no conflict: the port goes over to it when its guest first sends there. It
	// may be the host where the port is, which permits nothing until the port is on
	// another one: what is declared does not depend on what is bound.
	MigrateTo string `json:"migrate_to,omitempty"`
}

// attachment is a port's part in one network, as declared.
type attachment struct {
	network   string
	addresses []netip.Addr
	sub       *SubPort // nil on an access port
	native    bool     // on a trunk
}

// attachments are the networks of the port: one on an access port, the native
// one and then by VLAN on a trunk.
func (p *Port) attachments() []attachment {
	if p.Trunk == nil {
		if p.Network == "" {
			return nil
		}
		return []attachment{{network: p.Network, addresses: p.Addresses}}
	}
	out := make([]attachment, 0, len(p.Trunk.VLANs)+1)
	if s := p.Trunk.Native; s != nil {
		out = append(out, attachment{network: s.Network, addresses: s.Addresses, sub: s, native: true})
	}
	for i := range p.Trunk.VLANs {
		s := &p.Trunk.VLANs[i]
		out = append(out, attachment{network: s.Network, addresses: s.Addresses, sub: s})
	}
	return out
}

// field is the path of a field of the attachment, in the form of Problem.Field.
func (a attachment) field(name string) string {
	switch {
	case a.sub == nil:
		return name
	case a.native:
		return "trunk.native." + name
	}
	return fmt.Sprintf("trunk.vlans.%d.%s", a.sub.VLAN, name)
}
