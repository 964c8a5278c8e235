package ovsdb

import (
	"fmt"
	"maps"
	"net/netip"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// TunnelType is an encapsulation, as the type of an interface.
type TunnelType string

// The encapsulations.
const (
	TunnelGRE    TunnelType = "gre"    // RFC 2890, IP protocol 47
	TunnelIP6GRE TunnelType = "ip6gre" // the same over IPv6, see GREOver
	TunnelVXLAN  TunnelType = "vxlan"  // RFC 7348, UDP port 4789
	TunnelGeneve TunnelType = "geneve" // RFC 8926, UDP port 6081
)

// GREOver is the type for GRE between tunnel endpoints of tep's family. The kernel's
// datapath has a type for each; gre carries nothing over IPv6 there. In the userspace
// datapath either type does for both.
func GREOver(tep netip.Addr) TunnelType {
	if tep.Unmap().Is6() {
		return TunnelIP6GRE
	}
	return TunnelGRE
}

// gre says whether the type is GRE, over whatever.
func (t TunnelType) gre() bool { return t == TunnelGRE || t == TunnelIP6GRE }

// defaultPort is the encapsulation's own UDP destination port, 0 for GRE.
func (t TunnelType) defaultPort() uint16 {
	switch t {
	case TunnelVXLAN:
		return 4789
	case TunnelGeneve:
		return 6081
	default:
		return 0
	}
}

// Tunnel is a flow-based tunnel port: key and remote address are set per packet
// by the flows (options:key=flow, options:remote_ip=flow).
type Tunnel struct {
	Name string // of port and interface, at most 15 bytes, e.g. ofctl-gre0
	Type TunnelType
	// DstPort is the UDP destination port; 0 is the encapsulation's own, and the
	// only value for GRE.
	DstPort uint16
}

func (t Tunnel) port() uint16 {
	if t.DstPort != 0 {
		return t.DstPort
	}
	return t.Type.defaultPort()
}

func (t Tunnel) options() map[string]string {
	options := map[string]string{"remote_ip": "flow", "key": "flow"}
	if t.port() != t.Type.defaultPort() {
		options["dst_port"] = strconv.Itoa(int(t.port()))
	}
	return options
}

// tunnels plans the tunnel ports: rows to insert and change are added to the
// plan; added and removed are the ports by which the bridge's set changes.
func (pl *plan) tunnels() (added, removed []string, err error) {
	want := map[string]Tunnel{}
	for _, t := range pl.spec.Tunnels {
		want[t.Name] = t
	}
	have := map[string]*interfaceRow{}
	for _, id := range pl.picture.bridge.Ports {
		port := pl.ports[id]
		if port == nil {
			continue
		}
		for _, id := range port.Interfaces {
			i := pl.interfaces[id]
			if i == nil {
				continue
			}
			have[i.Name] = i
			if _, ok := want[i.Name]; !ok && i.ExternalIDs[externalIDOwner] == ownsTunnel {
				removed = append(removed, port.UUID)
			}
		}
	}
	for _, t := range pl.spec.Tunnels {
		i := have[t.Name]
		if i == nil {
			added = append(added, pl.addPort(t.Name, ovsdb.Row{
				"type": string(t.Type), "options": stringMap(t.options()), "external_ids": withOwner(nil, ownsTunnel),
			}))
			continue
		}
		row := ovsdb.Row{}
		if i.Type != string(t.Type) {
			row["type"] = string(t.Type)
		}
		if !maps.Equal(i.Options, t.options()) {
			row["options"] = stringMap(t.options())
		}
		if i.ExternalIDs[externalIDOwner] != ownsTunnel {
			if len(row) > 0 {
				return nil, nil, fmt.Errorf("port %s of bridge %s is not ours and something else (type %q, options %v); remove it or give the tunnel port another name",
					t.Name, pl.bridge, i.Type, i.Options)
			}
			row["external_ids"] = withOwner(i.ExternalIDs, ownsTunnel)
		}
		if len(row) > 0 {
			pl.add(ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: tableInterface, Where: byUUID(i.UUID), Row: row})
		}
	}
	return added, removed, nil
}

// clashes looks for what others have that ours cannot live beside.
func (pl *plan) clashes() error {
	for _, b := range pl.bridges {
		for _, i := range pl.bridgeInterfaces(b) {
			if b == pl.picture.bridge && i.Name == pl.bridge {
				continue
			}
			if i.Name == pl.bridge {
				return fmt.Errorf("bridge %s cannot be made: a port of bridge %s has that name", pl.bridge, b.Name)
			}
			for _, t := range pl.spec.Tunnels {
				if err := pl.tunnelClash(t, b, i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// tunnelClash says whether the tunnel port t can be beside interface i of bridge b.
func (pl *plan) tunnelClash(t Tunnel, b *bridgeRow, i *interfaceRow) error {
	if b == pl.picture.bridge && (i.Name == t.Name || i.ExternalIDs[externalIDOwner] == ownsTunnel) {
		return nil // it is t, or is about to be changed or removed
	}
	if i.Name == t.Name {
		return fmt.Errorf("tunnel port %s cannot be made: bridge %s has a port of that name; remove it or use another name", t.Name, b.Name)
	}
	kind := TunnelType(i.Type)
	// The userspace datapath gives all GRE to the port that came first, of either type.
	same := kind == t.Type || kind.gre() && t.Type.gre()
	if !same && kind.defaultPort() == 0 {
		return nil
	}
	port := kind.defaultPort()
	if n, err := strconv.ParseUint(i.Options["dst_port"], 10, 16); err == nil && n > 0 {
		port = uint16(n)
	}
	if port != t.port() {
		return nil
	}
	// A tunnel port to one peer may share the UDP port or GRE; one that takes
	// any packet, or speaks otherwise on it, may not.
	anyPacket := i.Options["remote_ip"] == "flow" && i.Options["key"] == "flow"
	if same && !anyPacket && i.Options["exts"] == "" {
		return nil
	}
	what := "GRE"
	if port != 0 {
		what = fmt.Sprintf("UDP port %d", port)
	}
	return fmt.Errorf("tunnel port %s cannot be made: %s is in use by interface %s (%s) of bridge %s; remove that or choose another port",
		t.Name, what, i.Name, i.Type, b.Name)
}
