package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The bridges of a host.
const (
	// IntegrationBridge is the bridge the guests are attached to.
	IntegrationBridge = "br-int"
	// UnderlayBridge carries the tunnels of a host with the userspace datapath, and has
	// the TEP on its local port. With the kernel's there is none.
	UnderlayBridge = "br-phy"
)

// infrastructure is the reserved host name of the lab's own namespace.
const infrastructure = "net"

// Spec is what a lab shall be.
type Spec struct {
	Name        string       `json:"name"` // letters, digits, "_-"
	Underlay    Underlay     `json:"underlay"`
	Hosts       []Host       `json:"hosts"`
	Attachments []Attachment `json:"attachments,omitempty"`
	Machines    []Machine    `json:"machines,omitempty"`
}

// Underlay is the network between the hosts, one Ethernet segment.
type Underlay struct {
	// Subnets hold the TEPs, IPv4 or IPv6.
	Subnets []netip.Prefix `json:"subnets"`
	MTU     int            `json:"mtu"` // bytes, 576 (1280 for IPv6) … 65521
}

// Host is a machine of the lab.
type Host struct {
	Name string     `json:"name"` // letters, digits, "_-"; not "net"
	TEP  netip.Addr `json:"tep"`
	// Datapath is the Open vSwitch datapath type, "system" or "netdev". Empty
	// takes the kernel's where it has one.
	Datapath string `json:"datapath,omitempty"`
}

// Attachment is a guest's interface, and the port of the integration bridge it
// is connected to.
type Attachment struct {
	Port  string `json:"port"` // the iface-id
	Host  string `json:"host"`
	Netns string `json:"netns,omitempty"` // Port if empty; several ports may share one
	// Interface is the guest's name of it, eth0 if empty.
	Interface string         `json:"interface,omitempty"`
	MAC       MAC            `json:"mac,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	MTU       int            `json:"mtu,omitempty"` // bytes; 0 for 1500
	VLANs     []VLAN         `json:"vlans,omitempty"`
}

// VLAN is an 802.1Q sub-interface <interface>.<id> of an attachment.
type VLAN struct {
	ID        uint16         `json:"id"` // 1 … 4094
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	MTU       int            `json:"mtu,omitempty"` // bytes; 0 for the attachment's
}

// MAC is an Ethernet address, in text as 02:00:00:00:00:01.
type MAC net.HardwareAddr

// String is the address in lower-case colon notation.
func (m MAC) String() string { return net.HardwareAddr(m).String() }

// MarshalText is String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses what MarshalText writes; empty is no address.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = nil
		return nil
	}
	mac, err := net.ParseMAC(string(text))
	*m = MAC(mac)
	return err
}

func (a Attachment) netns() string {
	if a.Netns == "" {
		return a.Port
	}
	return a.Netns
}

func (a Attachment) guestInterface() string {
	if a.Interface == "" {
		return "eth0"
	}
	return a.Interface
}

func (a Attachment) mtu() int {
	if a.MTU == 0 {
		return 1500
	}
	return a.MTU
}

// Device is the name of the switch's end in the host's namespace.
func (a Attachment) Device() string { return netdev.DeviceName('p', a.Port) }

// Namespace is the name of the guest's namespace in the lab.
func (a Attachment) Namespace(lab string) string { return lab + "." + a.Host + "." + a.netns() }

func hostNamespace(lab, host string) string { return lab + "." + host }

// Check reports all that is wrong with the spec, nil if nothing is.
func (s Spec) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("lab %s: "+format, append([]any{s.Name}, args...)...))
	}

	if err := checkLabel(s.Name); err != nil {
		bad("name: %w", err)
	}
	if len(s.Underlay.Subnets) == 0 {
		bad("the underlay has no subnet; give one, as 192.168.200.0/24")
	}
	minMTU := 576
	for _, p := range s.Underlay.Subnets {
		if !p.IsValid() {
			bad("an underlay subnet is not valid")
		} else if p.Addr().Is6() {
			minMTU = 1280
		}
	}
	if s.Underlay.MTU < minMTU || s.Underlay.MTU > 65521 {
		bad("underlay MTU %d; use %d to 65521", s.Underlay.MTU, minMTU)
	}
	if len(s.Hosts) == 0 {
		bad("it has no host")
	}
	hosts, teps := map[string]bool{}, map[netip.Addr]string{}
	for _, h := range s.Hosts {
		if err := checkLabel(h.Name); err != nil {
			bad("host name: %w", err)
		}
		if h.Name == infrastructure {
			bad("host name %q is the lab's own namespace; use another", h.Name)
		}
		if hosts[h.Name] {
			bad("host %s is there twice", h.Name)
		}
		hosts[h.Name] = true
		if other, dup := teps[h.TEP]; dup {
			bad("hosts %s and %s have the same TEP %s", other, h.Name, h.TEP)
		}
		teps[h.TEP] = h.Name
		if !slices.ContainsFunc(s.Underlay.Subnets, func(p netip.Prefix) bool { return p.Contains(h.TEP) }) {
			bad("host %s: TEP %s is in none of the underlay's subnets %v", h.Name, h.TEP, s.Underlay.Subnets)
		}
		if h.Datapath != "" && h.Datapath != datapathSystem && h.Datapath != datapathNetdev {
			bad("host %s: datapath %q; use %q, %q or leave it out", h.Name, h.Datapath, datapathSystem, datapathNetdev)
		}
	}
	ports, interfaces := map[string]bool{}, map[string]string{}
	for _, a := range s.Attachments {
		if ports[a.Port] {
			bad("port %s is there twice", a.Port)
		}
		ports[a.Port] = true
		if !hosts[a.Host] {
			bad("port %s: there is no host %q", a.Port, a.Host)
		}
		if err := a.check(s.Name); err != nil {
			bad("%w", err)
		}
		key := a.Namespace(s.Name) + " " + a.guestInterface()
		if other, dup := interfaces[key]; dup {
			bad("ports %s and %s are both interface %s of namespace %s", other, a.Port, a.guestInterface(), a.netns())
		}
		interfaces[key] = a.Port
	}
	if err := s.checkMachines(); err != nil {
		bad("%w", err)
	}
	return errors.Join(errs...)
}

func checkPortName(port string) error {
	if len(port) == 0 || len(port) > 200 {
		return fmt.Errorf("port name %.40q has %d bytes; use 1 to 200", port, len(port))
	}
	for _, r := range port {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("port name %q contains a control character", port)
		}
	}
	return nil
}

func (a Attachment) check(lab string) error {
	if err := checkPortName(a.Port); err != nil {
		return err
	}
	if err := errors.Join(
		netdev.CheckNamespaceName(a.netns()),
		netdev.CheckNamespaceName(a.Namespace(lab)),
		netdev.Attachment{
			Port: a.Port, Namespace: a.netns(), Interface: a.guestInterface(),
			MAC: net.HardwareAddr(a.MAC), MTU: a.MTU, Addresses: a.Addresses,
		}.Check()); err != nil {
		return fmt.Errorf("port %s: %w", a.Port, err)
	}
	vids := map[uint16]bool{}
	for _, v := range a.VLANs {
		if v.ID < 1 || v.ID > 4094 || vids[v.ID] {
			return fmt.Errorf("port %s: VLAN ID %d; use 1 to 4094, each once", a.Port, v.ID)
		}
		vids[v.ID] = true
		if err := netdev.CheckInterfaceName(a.subInterface(v)); err != nil {
			return fmt.Errorf("port %s: VLAN %d: %w", a.Port, v.ID, err)
		}
		if v.MTU < 0 || v.MTU > a.mtu() {
			return fmt.Errorf("port %s: VLAN %d: MTU %d; use at most %d, the interface's", a.Port, v.ID, v.MTU, a.mtu())
		}
		for _, p := range v.Addresses {
			if !p.IsValid() {
				return fmt.Errorf("port %s: VLAN %d: an address is not valid", a.Port, v.ID)
			}
		}
	}
	return nil
}

func (a Attachment) subInterface(v VLAN) string {
	return fmt.Sprintf("%s.%d", a.guestInterface(), v.ID)
}

// checkLabel checks the name of a lab or host, which is a part of namespace
// names that dots separate.
func checkLabel(name string) error {
	if len(name) == 0 || len(name) > 63 {
		return fmt.Errorf("%.70q has %d bytes; use 1 to 63", name, len(name))
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return fmt.Errorf("%q contains %q; use letters, digits, and after the first '-' and '_'", name, c)
		}
	}
	return nil
}

// namespaces are all the namespaces of the lab.
func (s Spec) namespaces() []string {
	names := []string{hostNamespace(s.Name, infrastructure)}
	for _, h := range s.Hosts {
		names = append(names, hostNamespace(s.Name, h.Name))
	}
	for _, a := range s.Attachments {
		if n := a.Namespace(s.Name); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

func (s Spec) host(name string) (Host, bool) {
	i := slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, false
	}
	return s.Hosts[i], true
}

func (s Spec) attachment(port string) (Attachment, bool) {
	i := slices.IndexFunc(s.Attachments, func(a Attachment) bool { return a.Port == port })
	if i < 0 {
		return Attachment{}, false
	}
	return s.Attachments[i], true
}

// managementSubnets are tried in this order for the management network.
var managementSubnets = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/16"), // shared address space, RFC 6598
	netip.MustParsePrefix("100.100.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/16"), // benchmarking, RFC 2544
	netip.MustParsePrefix("172.31.0.0/16"),
	netip.MustParsePrefix("10.255.0.0/16"),
	netip.MustParsePrefix("192.168.0.0/16"),
}

// managementSubnet is the first that overlaps nothing in the spec.
func (s Spec) managementSubnet() (netip.Prefix, error) {
	taken := slices.Clone(s.Underlay.Subnets)
	for _, a := range s.Attachments {
		taken = append(taken, a.Addresses...)
		for _, v := range a.VLANs {
			taken = append(taken, v.Addresses...)
		}
	}
	for _, v := range s.Machines {
		for _, n := range v.NICs {
			for _, a := range n.Addresses {
				taken = append(taken, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	for _, m := range managementSubnets {
		if !slices.ContainsFunc(taken, m.Overlaps) {
			return m, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("lab %s: no room for the management network: underlay and guests overlap all of %v; give the underlay another subnet", s.Name, managementSubnets)
}
