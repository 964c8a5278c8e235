package ovsctl

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// PortType is what kind of interface a port has.
type PortType string

// The kinds that are plugged by hand.
const (
	System   PortType = ""         // a network device that exists: veth, tap
	Internal PortType = "internal" // made by the switch
)

// Port is what to plug.
type Port struct {
	Bridge, Name string
	Type         PortType
	// IfaceID says which logical port this is (external_ids:iface-id).
	IfaceID string
	// AttachedMAC is the guest's address (external_ids:attached-mac); nil leaves
	// it out.
	AttachedMAC net.HardwareAddr
	// MTU is asked of the switch (mtu_request), in bytes; 0 leaves the device's.
	MTU int
	// OFPort is the OpenFlow number asked for, 1 … 65279; 0 leaves it to the switch.
	OFPort uint32
}

// AddPort plugs a port, in one transaction, and waits until the switch has done
// so. A port that is there already on the same bridge is brought to p.
func (c *Client) AddPort(ctx context.Context, p Port) error {
	if err := checkName("bridge", p.Bridge); err != nil {
		return err
	}
	if err := checkName("port", p.Name); err != nil {
		return err
	}
	set := []string{"--", "set", "Interface", p.Name, "type=" + string(p.Type)}
	if p.Type == System {
		set[len(set)-1] = `type=""`
	}
	if p.IfaceID != "" {
		set = append(set, "external_ids:iface-id="+atom(p.IfaceID))
	}
	if p.AttachedMAC != nil {
		set = append(set, "external_ids:attached-mac="+atom(p.AttachedMAC.String()))
	}
	if p.MTU != 0 {
		set = append(set, "mtu_request="+strconv.Itoa(p.MTU))
	}
	if p.OFPort != 0 {
		set = append(set, "ofport_request="+strconv.FormatUint(uint64(p.OFPort), 10))
	}
	return cause(c.vsctl(ctx, set...).AddPort(p.Bridge, p.Name))
}

// DeletePort unplugs a port; one that is not there is no error. A port of
// that name on another bridge is, and stays.
func (c *Client) DeletePort(ctx context.Context, bridge, port string) error {
	if err := checkName("bridge", bridge); err != nil {
		return err
	}
	if err := checkName("port", port); err != nil {
		return err
	}
	return cause(c.vsctl(ctx).DeletePort(bridge, port))
}

// SetMTU asks the switch to give an interface an MTU, in bytes.
func (c *Client) SetMTU(ctx context.Context, port string, mtu int) error {
	if err := checkName("port", port); err != nil {
		return err
	}
	if mtu <= 0 {
		return fmt.Errorf("port %s: MTU %d: it must be more than 0", port, mtu)
	}
	return cause(c.vsctl(ctx).Set.Interface(port, ovs.InterfaceOptions{MTURequest: mtu}))
}

// Bridges are the names of all bridges, in order.
func (c *Client) Bridges(ctx context.Context) ([]string, error) {
	bridges, err := c.vsctl(ctx).ListBridges()
	return bridges, cause(err)
}

// Ports are the names of a bridge's ports but its own, in order.
func (c *Client) Ports(ctx context.Context, bridge string) ([]string, error) {
	if err := checkName("bridge", bridge); err != nil {
		return nil, err
	}
	ports, err := c.vsctl(ctx).ListPorts(bridge)
	return ports, cause(err)
}

// PortsByIfaceID are the names of all interfaces that carry an iface-id, on any
// bridge; more than one is a mistake of whoever plugged them.
func (c *Client) PortsByIfaceID(ctx context.Context, ifaceID string) ([]string, error) {
	out, err := c.run(ctx, "ovs-vsctl", "--db="+c.o.DB, "--bare", "--columns=name", "find", "Interface", "external_ids:iface-id="+atom(ifaceID))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// OpenFlowSocket is the unix socket on which a local bridge takes OpenFlow
// connections besides its controller's.
func (c *Client) OpenFlowSocket(bridge string) string {
	return filepath.Join(c.o.RunDir, bridge+".mgmt")
}

// maxName is IFNAMSIZ - 1.
const maxName = 15

// checkName refuses what is no interface's name, or would be read as an option.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName || name[0] == '-' || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }) {
		return fmt.Errorf("%s %.32q: a name has 1 to %d printable bytes, no slash, and no dash at its beginning", what, name, maxName)
	}
	return nil
}

// atom writes a string as ovs-vsctl reads it whatever is in it.
func atom(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
