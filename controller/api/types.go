package api

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// State is the live state of a port, computed from what the switches confirmed.
type State string

// The states of a port.
const (
	// StateDown: no host shows the port's iface-id on its integration bridge.
	StateDown State = "down"
	// StateBinding: a host shows it, but its switch has not confirmed the
	// port's flows yet, or the interface has no link.
	StateBinding State = "binding"
	// StateUp: the switch of the port's host confirmed, by a barrier, the
	// flows that carry the port, and the interface has link.
	StateUp State = "up"
	// StateConflict: more than one interface claims the port. The first claim
	// carries the traffic; the others are in PortStatus.Rivals.
	StateConflict State = "conflict"
	// StateMigrating: the port is up, and a second host shows it, to which it may
	// migrate or from which it came: PortStatus.Standby.
	StateMigrating State = "migrating"
)

// Carries reports whether a port in the state carries its guest's traffic without
// anything being wrong.
func (s State) Carries() bool { return s == StateUp || s == StateMigrating }

// Tenant is an owner of networks.
type Tenant struct {
	Name     string    `json:"name" doc:"Unique name"`
	ID       uint32    `json:"id" doc:"Number in flow cookies; never reused"`
	UUID     uuid.UUID `json:"uuid" doc:"Stable identity"`
	Networks []string  `json:"networks" doc:"Full names (tenant/network) of the tenant's networks, sorted"`
	Ports    int       `json:"ports" doc:"Declared ports with a part in one of the tenant's networks"`
	PortsUp  int       `json:"ports_up" doc:"Those of them that are up"`
}

// NetworkSpec is what a user declares about a network.
type NetworkSpec struct {
	Tenant  string         `json:"tenant" doc:"Name of the tenant that owns the network"`
	Name    string         `json:"name" doc:"Name, unique within the tenant"`
	Type    string         `json:"type,omitempty" enum:"overlay,wire" doc:"overlay: a logical L2 segment (default); wire: a cable between exactly two ports, which carries every frame untouched"`
	Encap   string         `json:"encap" enum:"gre,vxlan,geneve" doc:"Tunnel encapsulation"`
	Key     uint32         `json:"key,omitempty" doc:"Tunnel key: GRE 1…4294967295, VXLAN and Geneve 1…16777215; allocated when left out"`
	Carrier string         `json:"carrier,omitempty" enum:"ignore,propagate" doc:"What the end of a wire shows its guest when the other end has no link: ignore (default): nothing; propagate: no link either"`
	Subnets []netip.Prefix `json:"subnets,omitempty" doc:"Subnets of the network"`
	Answer  string         `json:"answer,omitempty" enum:"bound,declared" doc:"Ports whose addresses are answered (ARP): bound, those on some host (default); declared, those that are down too"`
}

// FullName is "tenant/network".
func (n NetworkSpec) FullName() string { return n.Tenant + "/" + n.Name }

// Network is one logical L2 segment.
type Network struct {
	NetworkSpec
	ID           uint32        `json:"id" doc:"Number in registers and flow cookies; never reused"`
	UUID         uuid.UUID     `json:"uuid" doc:"Stable identity"`
	KeyAllocated bool          `json:"key_allocated" doc:"True if the controller chose the key"`
	Status       NetworkStatus `json:"status" doc:"Live state"`
}

// NetworkStatus is the live state of a network.
type NetworkStatus struct {
	Ports   int      `json:"ports" doc:"Declared ports and trunk sub-ports of the network"`
	PortsUp int      `json:"ports_up" doc:"Those of them that are up"`
	Hosts   []string `json:"hosts" doc:"Hosts on which the network has a bound member, sorted"`
	// MTU is the largest IP packet a guest of the network may send, in bytes; 0
	// if the underlay's MTU is not known.
	MTU int `json:"mtu,omitempty" doc:"MTU for guests in bytes, derived from the underlay; absent if unknown"`
}

// SubPort is one network of a trunk port.
type SubPort struct {
	VLAN      uint16       `json:"vlan" doc:"802.1Q VLAN ID 1…4094; 0 for the native network"`
	Network   string       `json:"network" doc:"Full name of the network"`
	Addresses []netip.Addr `json:"addresses,omitempty" doc:"Addresses of the guest in that network"`
}

// Trunk is what a trunk port carries.
type Trunk struct {
	Native *SubPort  `json:"native,omitempty" doc:"Network of untagged and priority-tagged frames; they are dropped when absent"`
	VLANs  []SubPort `json:"vlans,omitempty" doc:"Networks of tagged frames, ascending by VLAN ID"`
}

// PortSpec is what a user declares about a port. Exactly one of Network and Trunk is given.
type PortSpec struct {
	Name      string       `json:"name" doc:"Unique name; a switch knows the port by external_ids:iface-id equal to it (or to the UUID)"`
	MAC       string       `json:"mac,omitempty" doc:"Ethernet address; derived from the name when left out"`
	Profile   string       `json:"profile,omitempty" enum:"host,switch" doc:"host: one MAC, guarded strictly (default); switch: a guest that is itself a switch or router"`
	MACs      int          `json:"macs,omitempty" minimum:"1" maximum:"4096" doc:"Most source MACs learned at a port of profile switch; 64 when left out"`
	Network   string       `json:"network,omitempty" doc:"Full name of the network of an access port"`
	Addresses []netip.Addr `json:"addresses,omitempty" doc:"Fixed addresses in the network"`
	Trunk     *Trunk       `json:"trunk,omitempty" doc:"Networks of a trunk port"`
	Host      string       `json:"host,omitempty" doc:"Where a lab creates the attachment; does not bind the port"`
	Netns     string       `json:"netns,omitempty" doc:"Network namespace a lab creates"`
	Interface string       `json:"interface,omitempty" doc:"Name of the guest's interface in a lab"`
	Guest     string       `json:"guest,omitempty" doc:"Virtual machine whose network card the port is"`
	MigrateTo string       `json:"migrate_to,omitempty" doc:"Host that the port is being migrated to, or any: while set, a second claim from there is no conflict"`
}

// Port is a logical port.
type Port struct {
	PortSpec
	ID     uint32     `json:"id" doc:"Number in flow cookies; never reused"`
	UUID   uuid.UUID  `json:"uuid" doc:"Stable identity"`
	Status PortStatus `json:"status" doc:"Live state"`
}

// PortStatus is the live state of a port.
type PortStatus struct {
	State         State  `json:"state" enum:"down,binding,up,conflict,migrating" doc:"down, binding, up, conflict or migrating"`
	Host          string `json:"host,omitempty" doc:"Host on which the port is bound"`
	OFPort        uint32 `json:"ofport,omitempty" doc:"OpenFlow port number there"`
	InterfaceName string `json:"interface,omitempty" doc:"Name of the switch's interface"`
	LinkState     string `json:"link_state,omitempty" doc:"up or down, as the switch reports"`
	// HeldDown is set on an end of a wire with carrier propagate.
	HeldDown string `json:"held_down,omitempty" doc:"Why the controller holds the interface down: what has no link at the other end of the port's wire"`
	// Learning is there for ports of profile switch.
	Learning *Learning `json:"learning,omitempty" doc:"Source MACs learned at a port of profile switch"`
	Rivals   []Claim   `json:"rivals,omitempty" doc:"Other interfaces that claim the port"`
	// Standby is set while the port is being migrated.
	Standby *Standby `json:"standby,omitempty" doc:"Where else the port is while it is being migrated"`
	Message string   `json:"message,omitempty" doc:"Why the port is not up, and what to do"`
}

// Wired reports whether the switch of the port's host has all that the port needs: it
// is up (or migrates), or dark only because the other end of its wire is.
func (s PortStatus) Wired() bool {
	return s.State.Carries() || s.State == StateBinding && s.HeldDown != ""
}

// Standby is the claim on a port to which it is about to migrate or from which it came.
type Standby struct {
	Claim
	Ready  bool `json:"ready" doc:"True when the switch there has confirmed all that the port needs: its guest may be started there"`
	Source bool `json:"source" doc:"True when the traffic came from there: the port has been cut over"`
}

// Learning is the learning of source MACs at a port.
type Learning struct {
	Count int  `json:"count" doc:"Source MACs learned, in all networks of the port"`
	Limit int  `json:"limit" doc:"Most that are learned"`
	Full  bool `json:"full" doc:"True when the limit is reached: frames from further source MACs are dropped (mac-limit)"`
	// MACs is there for a single port, not in a list of ports.
	MACs []LearnedMAC `json:"macs,omitempty" doc:"The MACs; not in lists of ports"`
}

// LearnedMAC is a source MAC learned at a port.
type LearnedMAC struct {
	MAC     string `json:"mac" doc:"Ethernet address"`
	Network string `json:"network" doc:"Full name of the network"`
	VLAN    uint16 `json:"vlan,omitempty" doc:"VLAN ID on a trunk; absent for the native network and on access ports"`
	// LastSeen is as fine as the switch is asked: a quarter of the ageing time.
	LastSeen *time.Time `json:"last_seen,omitempty" doc:"When it was last known to send; absent if not known yet"`
	Held     bool       `json:"held,omitempty" doc:"True while it is seen at another port too, again and again, and not followed: a loop, or two stations with one address"`
}

// Claim is an interface somewhere whose iface-id names a port.
type Claim struct {
	IfaceID       string    `json:"iface_id" doc:"external_ids:iface-id of the interface"`
	Host          string    `json:"host" doc:"Host of the interface"`
	OFPort        uint32    `json:"ofport,omitempty" doc:"OpenFlow port number"`
	InterfaceName string    `json:"interface,omitempty" doc:"Name of the interface"`
	InterfaceUUID uuid.UUID `json:"interface_uuid" doc:"Row of the Interface table"`
}

// HostSpec is what a user declares about a host.
type HostSpec struct {
	Name string     `json:"name" doc:"Unique name"`
	TEP  netip.Addr `json:"tep" doc:"Tunnel endpoint address, unique among hosts"`
}

// Host is a machine with an integration bridge.
type Host struct {
	HostSpec
	ID       uint32     `json:"id" doc:"Number; never reused"`
	UUID     uuid.UUID  `json:"uuid" doc:"Stable identity; the bridge's datapath id derives from it"`
	Declared bool       `json:"declared" doc:"False for a host that joined without being declared"`
	Status   HostStatus `json:"status" doc:"Live state"`
}

// HostStatus is the live state of a host.
type HostStatus struct {
	Ready        bool          `json:"ready" doc:"True when OVSDB and OpenFlow are connected, the bridge is right, the newest revision is in the switch, and no peer is known to be unreachable"`
	OVSDB        SessionStatus `json:"ovsdb" doc:"The session with the host's ovsdb-server"`
	OpenFlow     SessionStatus `json:"openflow" doc:"The session with the host's integration bridge"`
	OVS          string        `json:"ovs_version,omitempty" doc:"Version of Open vSwitch"`
	Bridge       *BridgeStatus `json:"bridge,omitempty" doc:"The integration bridge as read back from the host"`
	Revision     uint64        `json:"revision" doc:"Newest revision whose flows the switch has confirmed"`
	Flows        int           `json:"flows" doc:"Flows of ours in the switch"`
	Groups       int           `json:"groups" doc:"Groups of ours in the switch"`
	Meters       int           `json:"meters" doc:"Meters of ours in the switch"`
	Ports        int           `json:"ports" doc:"Ports bound on the host"`
	Drift        uint64        `json:"drift" doc:"Entries that audits found changed behind the controller's back, and repaired"`
	LastSync     *time.Time    `json:"last_sync,omitempty" doc:"When the switch last confirmed a commit"`
	Reachability Reachability  `json:"reachability" doc:"Which peers packets of the host reach, by probes through its tunnels"`
	LastError    string        `json:"last_error,omitempty" doc:"Newest error of a commit, cleared by the next success"`
	Problems     []string      `json:"problems,omitempty" doc:"What is wrong with the host, each with what to do"`
}

// Reachability is which peers packets of a host reach. A peer counts once for each
// encapsulation that it shares with the host; one that was not judged yet, or cannot be now, is
// neither reached nor unreachable.
type Reachability struct {
	Peers       int `json:"peers" doc:"Peers, each over each encapsulation that it shares with the host"`
	Reached     int `json:"reached" doc:"Those that probes reach"`
	Unreachable int `json:"unreachable" doc:"Those that no probe reaches"`
}

// SessionStatus is one connection from a host to the controller.
type SessionStatus struct {
	Connected bool       `json:"connected" doc:"True while the session is alive"`
	Peer      string     `json:"peer,omitempty" doc:"Remote address of the session"`
	Since     *time.Time `json:"since,omitempty" doc:"Since when connected, or since when gone"`
	Error     string     `json:"error,omitempty" doc:"Why the last session ended"`
}

// BridgeStatus is the integration bridge as read back from a host.
type BridgeStatus struct {
	Name             string            `json:"name" doc:"Name of the bridge"`
	DatapathID       string            `json:"datapath_id" doc:"OpenFlow datapath id, 16 hexadecimal digits"`
	DatapathType     string            `json:"datapath_type" doc:"system or netdev"`
	DatapathIntended string            `json:"datapath_intended,omitempty" doc:"Datapath type that was asked for or, if none was, that the bridge was made with"`
	DatapathFallback string            `json:"datapath_fallback,omitempty" doc:"Why the datapath type is netdev although system was intended"`
	FailMode         string            `json:"fail_mode" doc:"secure is required: a bridge that lost its controller must not become a learning switch"`
	Protocols        []string          `json:"protocols" doc:"OpenFlow versions offered"`
	Tunnels          map[string]uint32 `json:"tunnels,omitempty" doc:"OpenFlow port number of the tunnel port, by encapsulation"`
}

// UnclaimedInterface is an interface on an integration bridge whose iface-id no
// declared port has. It gets no flows.
type UnclaimedInterface = Claim

// UnclaimedBridge is a switch that connected over OpenFlow but is no host's bridge.
type UnclaimedBridge struct {
	DatapathID string    `json:"datapath_id" doc:"OpenFlow datapath id, 16 hexadecimal digits"`
	Peer       string    `json:"peer" doc:"Remote address of the newest attempt"`
	Attempts   uint64    `json:"attempts" doc:"Connections refused so far"`
	LastSeen   time.Time `json:"last_seen" doc:"When it last tried"`
	Reason     string    `json:"reason" doc:"Why it is not served, and what to do"`
}

// Unclaimed is what is there but nobody declared.
type Unclaimed struct {
	Interfaces []UnclaimedInterface `json:"interfaces" doc:"Interfaces with an iface-id that no port has"`
	Bridges    []UnclaimedBridge    `json:"bridges" doc:"Switches that are no host's integration bridge"`
}

// Status is the controller at a glance.
type Status struct {
	Version        string    `json:"version" doc:"Version of the controller"`
	Started        time.Time `json:"started" doc:"When the controller started"`
	Topology       string    `json:"topology,omitempty" doc:"Name of the topology last applied"`
	Revision       uint64    `json:"revision" doc:"Newest revision"`
	SyncedRevision uint64    `json:"synced_revision" doc:"Newest revision that every connected switch has confirmed"`
	Settled        bool      `json:"settled" doc:"False while the controller waits, after a start, for the hosts' pictures before it changes switches that already forward"`
	Hosts          int       `json:"hosts" doc:"Hosts, declared or joined"`
	HostsReady     int       `json:"hosts_ready" doc:"Hosts that are ready"`
	Tenants        int       `json:"tenants" doc:"Tenants"`
	Networks       int       `json:"networks" doc:"Networks"`
	Ports          int       `json:"ports" doc:"Declared ports"`
	PortsUp        int       `json:"ports_up" doc:"Ports that are up"`
	PortsConflict  int       `json:"ports_conflict" doc:"Ports claimed more than once"`
	Problems       []string  `json:"problems,omitempty" doc:"What is wrong, each with what to do"`
	OpenFlowListen string    `json:"openflow_listen" doc:"Address on which switches are served"`
	OVSDBListen    string    `json:"ovsdb_listen" doc:"Address on which hosts are served"`
}

// Version says which build of the controller answers.
type Version struct {
	Version string `json:"version" doc:"Version of the build"`
	Commit  string `json:"commit,omitempty" doc:"Commit of the build, if known"`
	Go      string `json:"go" doc:"Go release that built it"`
	API     string `json:"api" doc:"Version of this interface: v1"`
}

// Revision is the answer to a change of what is desired.
type Revision struct {
	Revision uint64 `json:"revision" doc:"Revision in which the change is"`
	Changed  bool   `json:"changed" doc:"False if everything was already so"`
}
