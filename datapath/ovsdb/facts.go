package ovsdb

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/model"
)

// The external_ids of Open_vSwitch by which a host says who it is. Debian's
// start script writes system-id anew at every boot, so that is not used.
const (
	externalIDHost       = "ofctl-lab-host"
	externalIDTEP        = "ofctl-lab-tep"
	externalIDController = "ofctl-lab-controller"
)

// externalIDOwner marks the rows that are ours, with the values below.
const (
	externalIDOwner = "ofctl-lab"
	ownsController  = "controller"
	ownsTunnel      = "tunnel"
	ownsManager     = "manager"
)

// Identity is what a host says of itself, and which Open vSwitch it runs.
type Identity struct {
	Host string // external_ids:ofctl-lab-host
	// TEP is external_ids:ofctl-lab-tep, the zero Addr when absent or no address.
	TEP netip.Addr
	// Controller is external_ids:ofctl-lab-controller, an OpenFlow target such as
	// tcp:192.0.2.1:6653.
	Controller string
	// Problem says what is missing or wrong in the three above; empty when
	// the host is known by them.
	Problem string

	SystemID string // external_ids:system-id, for display only
	// Version is that of Open vSwitch; empty where no start script (ovs-ctl)
	// has written it down.
	Version       string
	Peer          string // remote address of the connection
	DatapathTypes []string
	// SystemRuns says that the host's kernel has the system datapath: another bridge
	// than the integration bridge runs on it.
	SystemRuns bool
	// VLANLimit is how many VLAN tags the switch looks into
	// (other_config:vlan-limit); 0 is no limit, 1 the default.
	VLANLimit int
}

func (a Identity) equal(b Identity) bool {
	types := slices.Equal(a.DatapathTypes, b.DatapathTypes)
	return types && a.Host == b.Host && a.TEP == b.TEP && a.Controller == b.Controller && a.Problem == b.Problem &&
		a.SystemID == b.SystemID && a.Version == b.Version && a.Peer == b.Peer && a.VLANLimit == b.VLANLimit && a.SystemRuns == b.SystemRuns
}

// BridgeFacts is the integration bridge as the host has it. All but Name is
// zero when Present is false.
type BridgeFacts struct {
	Present bool
	UUID    uuid.UUID
	Name    string
	// DatapathID is the id the bridge runs with. It is 0 while ovs-vswitchd has not said
	// so since ovsdb-server was started, and 0 for a bridge that it cannot open.
	DatapathID uint64
	// DatapathType is the type of the datapath as configured, "system" or "netdev".
	DatapathType string
	// Intended is the type that was asked for or, if none was, that the bridge was made
	// with; "" when the bridge does not say.
	Intended string
	// Fallback is why the bridge was given the type netdev although system was
	// intended; "" when it was not.
	Fallback    string
	FailMode    string
	Protocols   []string
	Controllers []ControllerFacts // in order of Target
}

// ControllerFacts is one row of the bridge's controllers.
type ControllerFacts struct {
	Target    string
	Connected bool
	LastError string // of the switch's attempts to connect
	Ours      bool
}

func (a BridgeFacts) equal(b BridgeFacts) bool {
	return a.Present == b.Present && a.UUID == b.UUID && a.Name == b.Name && a.DatapathID == b.DatapathID &&
		a.DatapathType == b.DatapathType && a.Intended == b.Intended && a.Fallback == b.Fallback && a.FailMode == b.FailMode &&
		slices.Equal(a.Protocols, b.Protocols) && slices.Equal(a.Controllers, b.Controllers)
}

// Interface is one row of the Interface table.
type Interface struct {
	UUID uuid.UUID
	Name string
	Type string // "" is a network device of the system
	// IfaceID is external_ids:iface-id, AttachedMAC external_ids:attached-mac;
	// whoever plugs the interface sets them.
	IfaceID     string
	AttachedMAC string
	// OFPort is the OpenFlow port number, 1 … 65279 or 65534 for the bridge's
	// own port; 0 while the switch has not given one, or could not (Error).
	OFPort uint32
	// Error is what the switch says is wrong with the interface.
	Error      string
	LinkState  string // up, down or ""
	AdminState string // up, down or ""
	MTU        int    // bytes; 0 when unknown
	Options    map[string]string
}

func (a Interface) equal(b Interface) bool {
	return a.UUID == b.UUID && a.Name == b.Name && a.Type == b.Type && a.IfaceID == b.IfaceID && a.AttachedMAC == b.AttachedMAC &&
		a.OFPort == b.OFPort && a.Error == b.Error && a.LinkState == b.LinkState && a.AdminState == b.AdminState &&
		a.MTU == b.MTU && maps.Equal(a.Options, b.Options)
}

// Facts is a host as of one database transaction. It is immutable and shared:
// do not change what its maps and slices hold.
type Facts struct {
	Identity
	Bridge BridgeFacts
	// Interfaces are those of the integration bridge, its own port and the
	// tunnel ports among them. Two may carry the same iface-id.
	Interfaces map[uuid.UUID]Interface
	// Held are the devices, on the bridge or not, that are held down by the
	// controller, as NoteHeld has noted them.
	Held map[string]bool
}

func (f *Facts) equal(g *Facts) bool {
	return f.Identity.equal(g.Identity) && f.Bridge.equal(g.Bridge) && maps.EqualFunc(f.Interfaces, g.Interfaces, Interface.equal) &&
		maps.Equal(f.Held, g.Held)
}

// WithLinksOf is f, with the links as before has them where ovs-vswitchd has not written
// them down since ovsdb-server was started. An interface keeps its UUID over that.
func (f *Facts) WithLinksOf(before *Facts) *Facts {
	if before == nil {
		return f
	}
	var links map[uuid.UUID]Interface
	for id, i := range f.Interfaces {
		was, known := before.Interfaces[id]
		if !known || i.LinkState != "" || i.AdminState != "" || i.MTU != 0 || was.LinkState == "" && was.AdminState == "" && was.MTU == 0 {
			continue
		}
		if links == nil {
			links = maps.Clone(f.Interfaces)
		}
		i.LinkState, i.AdminState, i.MTU = was.LinkState, was.AdminState, was.MTU
		links[id] = i
	}
	if links == nil {
		return f
	}
	with := *f
	with.Interfaces = links
	return &with
}

// picture is Facts with the rows it was made from. Immutable, but for superseded,
// which is closed when the next picture is there.
type picture struct {
	facts       *Facts
	root        *openVSwitchRow
	bridge      *bridgeRow // nil when the integration bridge does not exist
	bridges     map[string]*bridgeRow
	ports       map[string]*portRow
	interfaces  map[string]*interfaceRow
	controllers map[string]*controllerRow
	superseded  chan struct{}
}

// takePicture makes a picture from the library's rows, at a moment when the
// library changes none of them. before is the last one, nil at first.
func takePicture(c *cache.TableCache, o Options, peer string, before *picture) (*picture, error) {
	if c == nil {
		return nil, fmt.Errorf("the client library hung up")
	}
	n := 0
	for _, table := range c.Tables() {
		n += c.Table(table).Len()
	}
	if n > o.MaxRows {
		return nil, fmt.Errorf("its database has %d rows in the tables watched, more than the %d allowed", n, o.MaxRows)
	}
	roots := rows[openVSwitchRow](c.Table(tableOpenVSwitch))
	if len(roots) != 1 {
		return nil, fmt.Errorf("its table Open_vSwitch has %d rows instead of 1; was 'ovs-vsctl init' run?", len(roots))
	}
	p := &picture{
		bridges:     rows[bridgeRow](c.Table(tableBridge)),
		ports:       rows[portRow](c.Table(tablePort)),
		interfaces:  rows[interfaceRow](c.Table(tableInterface)),
		controllers: rows[controllerRow](c.Table(tableController)),
		superseded:  make(chan struct{}),
	}
	for _, root := range roots {
		p.root = root
	}
	for _, id := range p.root.Bridges {
		if b := p.bridges[id]; b != nil && b.Name == o.Bridge {
			p.bridge = b
		}
	}
	plugged := p.bridgeInterfaces(p.bridge)
	id := identity(p.root, peer)
	id.SystemRuns = p.systemRuns()
	f := &Facts{
		Identity:   id,
		Bridge:     bridgeFacts(p, o.Bridge),
		Interfaces: make(map[uuid.UUID]Interface, len(plugged)),
		Held:       heldDevices(p.root.ExternalIDs),
	}
	for _, row := range plugged {
		i, known := Interface{}, false
		if before != nil && before.interfaces[row.UUID] == row {
			i, known = before.facts.Interfaces[uuid.MustParse(row.UUID)]
		}
		if !known {
			i = interfaceFacts(row)
		}
		f.Interfaces[i.UUID] = i
	}
	p.facts = f
	return p, nil
}

// rows gives the library's rows of a table. It replaces a row that changes and
// never writes to one, so they may be kept.
func rows[T any](table *cache.RowCache) map[string]*T {
	out := make(map[string]*T, table.Len())
	for id, m := range table.RowsShallow() {
		if row, ok := model.Model(m).(*T); ok {
			out[id] = row
		}
	}
	return out
}

// bridgeInterfaces are the interfaces of a bridge's ports.
func (p *picture) bridgeInterfaces(b *bridgeRow) []*interfaceRow {
	if b == nil {
		return nil
	}
	list := make([]*interfaceRow, 0, len(b.Ports))
	for _, id := range b.Ports {
		port := p.ports[id]
		if port == nil {
			continue
		}
		for _, id := range port.Interfaces {
			if row := p.interfaces[id]; row != nil {
				list = append(list, row)
			}
		}
	}
	return list
}

func identity(root *openVSwitchRow, peer string) Identity {
	id := Identity{
		Host:          root.ExternalIDs[externalIDHost],
		Controller:    root.ExternalIDs[externalIDController],
		SystemID:      root.ExternalIDs["system-id"],
		Version:       value(root.OVSVersion),
		Peer:          peer,
		DatapathTypes: slices.Sorted(slices.Values(root.DatapathTypes)),
		VLANLimit:     1,
	}
	if n, err := strconv.Atoi(root.OtherConfig["vlan-limit"]); err == nil && n >= 0 {
		id.VLANLimit = n
	}
	tep, err := netip.ParseAddr(root.ExternalIDs[externalIDTEP])
	switch {
	case id.Host == "":
		id.Problem = "external_ids:" + externalIDHost + " is not set"
	case err != nil:
		id.Problem = fmt.Sprintf("external_ids:%s is %.64q, not an IP address", externalIDTEP, root.ExternalIDs[externalIDTEP])
	default:
		if _, err := ParseTarget(id.Controller); err != nil {
			id.Problem = fmt.Sprintf("external_ids:%s: %v", externalIDController, err)
		}
	}
	if id.Problem != "" {
		id.Problem += "; run the host's join command again"
	}
	if err == nil {
		id.TEP = tep.Unmap()
	}
	return id
}

func bridgeFacts(p *picture, name string) BridgeFacts {
	row := p.bridge
	if row == nil {
		return BridgeFacts{Name: name}
	}
	b := BridgeFacts{
		Present:      true,
		UUID:         uuid.MustParse(row.UUID),
		Name:         row.Name,
		DatapathType: orSystem(row.DatapathType),
		Intended:     row.ExternalIDs[ExternalIDDatapath],
		FailMode:     value(row.FailMode),
		Protocols:    slices.Sorted(slices.Values(row.Protocols)),
	}
	if b.DatapathType != typeSystem {
		b.Fallback = row.ExternalIDs[ExternalIDFallback]
	}
	b.DatapathID = datapathID(row)
	for _, id := range row.Controller {
		if c := p.controllers[id]; c != nil {
			b.Controllers = append(b.Controllers, ControllerFacts{
				Target:    c.Target,
				Connected: c.IsConnected,
				LastError: c.Status["last_error"],
				Ours:      c.ExternalIDs[externalIDOwner] == ownsController,
			})
		}
	}
	slices.SortFunc(b.Controllers, func(a, b ControllerFacts) int { return strings.Compare(a.Target, b.Target) })
	return b
}

// portLocal is OFPP_LOCAL, the bridge's own port, as Open vSwitch writes it
// in the Interface table.
const portLocal = 65534

// maxPort is the largest number of any other port (OpenFlow 1.0's OFPP_MAX - 1).
const maxPort = 0xfeff

func interfaceFacts(row *interfaceRow) Interface {
	i := Interface{
		UUID:        uuid.MustParse(row.UUID),
		Name:        row.Name,
		Type:        row.Type,
		IfaceID:     row.ExternalIDs["iface-id"],
		AttachedMAC: row.ExternalIDs["attached-mac"],
		Error:       value(row.Error),
		LinkState:   value(row.LinkState),
		AdminState:  value(row.AdminState),
		MTU:         value(row.MTU),
		Options:     row.Options,
	}
	switch n := value(row.OFPort); {
	case 0 < n && n <= maxPort, n == portLocal:
		i.OFPort = uint32(n)
	case row.OFPort != nil && i.Error == "":
		i.Error = fmt.Sprintf("the switch could not open it (ofport %d); its log says why", n)
	}
	return i
}

// value is what p points at, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
