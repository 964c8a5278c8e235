package ovsdb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// BridgeSpec is what the integration bridge (Options.Bridge) has to be. What it
// does not name is not touched: ports of others, and other bridges.
type BridgeSpec struct {
	// DatapathType is "system", "netdev", or "" to let the host decide: a bridge
	// that runs keeps its type; a new one gets "system" where that works and
	// "netdev" (in user space) where it does not.
	DatapathType string
	// DatapathID is the id by which the bridge's OpenFlow session is known. Not 0.
	DatapathID uint64
	// Controller is the OpenFlow target, tcp:ADDRESS:PORT or ssl:ADDRESS:PORT;
	// "" for none.
	Controller string
	// InactivityProbe is how long the switch lets its controller be silent;
	// 5 s when 0.
	InactivityProbe time.Duration
	// Tunnels are all tunnel ports of ours; one that is not here is removed.
	Tunnels []Tunnel
}

// TunnelType is an encapsulation, as the type of an interface.
type TunnelType string

// The encapsulations.
const (
	TunnelGRE    TunnelType = "gre"    // RFC 2890, IP protocol 47
	TunnelVXLAN  TunnelType = "vxlan"  // RFC 7348, UDP port 4789
	TunnelGeneve TunnelType = "geneve" // RFC 8926, UDP port 6081
)

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

// maxInterfaceName is IFNAMSIZ - 1.
const maxInterfaceName = 15

func (spec BridgeSpec) validate() error {
	switch spec.DatapathType {
	case "", "system", "netdev":
	default:
		return fmt.Errorf("datapath type %q: it is system, netdev or empty", spec.DatapathType)
	}
	if spec.DatapathID == 0 {
		return errors.New("datapath id 0: it must be another number")
	}
	if spec.Controller != "" {
		if _, err := ParseTarget(spec.Controller); err != nil {
			return fmt.Errorf("controller: %w", err)
		}
	}
	names, ports := map[string]bool{}, map[uint16]string{}
	for _, t := range spec.Tunnels {
		switch {
		case t.Type != TunnelGRE && t.Type != TunnelVXLAN && t.Type != TunnelGeneve:
			return fmt.Errorf("tunnel port %s: type %q is none of gre, vxlan and geneve", t.Name, t.Type)
		case t.Name == "" || len(t.Name) > maxInterfaceName || strings.ContainsAny(t.Name, "/ \t\n"):
			return fmt.Errorf("tunnel port %q: a name has 1 to %d bytes and neither slash nor space", t.Name, maxInterfaceName)
		case names[t.Name]:
			return fmt.Errorf("tunnel port %s is there twice", t.Name)
		case t.Type == TunnelGRE && t.DstPort != 0:
			return fmt.Errorf("tunnel port %s: GRE has no UDP port", t.Name)
		case ports[t.port()] != "": // GRE's port is 0: one GRE port, too
			return fmt.Errorf("tunnel ports %s and %s both want UDP port %d", ports[t.port()], t.Name, t.port())
		}
		names[t.Name], ports[t.port()] = true, t.Name
	}
	return nil
}

// Of the Controller row. max_backoff is the longest pause between attempts to
// connect, and 1000 ms the least that the schema allows.
const (
	controllerBackoff      = 1000 // ms
	defaultInactivityProbe = 5 * time.Second
	outOfBand              = "out-of-band"
)

func (spec BridgeSpec) inactivityProbe() int {
	if spec.InactivityProbe == 0 {
		return int(defaultInactivityProbe.Milliseconds())
	}
	return int(spec.InactivityProbe.Milliseconds())
}

// plan is the operations that turn picture into spec.
type plan struct {
	*picture
	spec   BridgeSpec
	bridge string // name
	// datapathType is what the bridge's is to be; "" leaves it.
	datapathType string
	ops          []ovsdb.Operation
}

// The names by which rows that one transaction inserts refer to each other.
const newBridge = "new_bridge"

// makePlan says what to do, nothing when all is right, or what stands in the way.
func makePlan(p *picture, spec BridgeSpec, bridge, datapathType string) ([]ovsdb.Operation, error) {
	pl := &plan{picture: p, spec: spec, bridge: bridge, datapathType: datapathType}
	if err := pl.clashes(); err != nil {
		return nil, err
	}
	if p.bridge == nil {
		return pl.create()
	}
	row := ovsdb.Row{}
	pl.bridgeColumns(row)
	if err := pl.controllers(row); err != nil {
		return nil, err
	}
	if len(row) > 0 {
		pl.add(ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: tableBridge, Where: byUUID(p.bridge.UUID), Row: row})
	}
	added, removed, err := pl.tunnels()
	if err != nil {
		return nil, err
	}
	var mutations []ovsdb.Mutation
	if len(removed) > 0 {
		mutations = append(mutations, *ovsdb.NewMutation("ports", ovsdb.MutateOperationDelete, uuidSet(removed)))
	}
	if len(added) > 0 {
		mutations = append(mutations, *ovsdb.NewMutation("ports", ovsdb.MutateOperationInsert, uuidSet(added)))
	}
	if len(mutations) > 0 {
		pl.add(ovsdb.Operation{Op: ovsdb.OperationMutate, Table: tableBridge, Where: byUUID(p.bridge.UUID), Mutations: mutations})
	}
	return pl.ops, nil
}

func (pl *plan) add(op ovsdb.Operation) { pl.ops = append(pl.ops, op) }

// create plans the bridge with its own port, its controller and its tunnels.
func (pl *plan) create() ([]ovsdb.Operation, error) {
	row := ovsdb.Row{"name": pl.bridge}
	pl.picture = &picture{ // as if it were there, and empty
		bridge: &bridgeRow{UUID: newBridge, Name: pl.bridge},
		root:   pl.root, bridges: pl.bridges, ports: pl.ports, interfaces: pl.interfaces, controllers: pl.picture.controllers,
	}
	pl.bridgeColumns(row)
	if err := pl.controllers(row); err != nil {
		return nil, err
	}
	ports, _, err := pl.tunnels()
	if err != nil {
		return nil, err
	}
	ports = append(ports, pl.addPort(pl.bridge, ovsdb.Row{"type": "internal"}))
	row["ports"] = uuidSet(ports)
	pl.add(ovsdb.Operation{Op: ovsdb.OperationInsert, Table: tableBridge, UUIDName: newBridge, Row: row})
	pl.add(ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: tableOpenVSwitch, Where: byUUID(pl.root.UUID),
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("bridges", ovsdb.MutateOperationInsert, uuidSet([]string{newBridge}))},
	})
	return pl.ops, nil
}

// bridgeColumns puts the bridge's columns that are not right into row.
func (pl *plan) bridgeColumns(row ovsdb.Row) {
	have := pl.picture.bridge
	if pl.datapathType != "" && pl.datapathType != orSystem(have.DatapathType) {
		row["datapath_type"] = pl.datapathType
	}
	if value(have.FailMode) != "secure" {
		row["fail_mode"] = "secure"
	}
	if !slices.Equal(have.Protocols, []string{"OpenFlow13"}) {
		row["protocols"] = "OpenFlow13"
	}
	config := maps.Clone(have.OtherConfig)
	if config == nil {
		config = map[string]string{}
	}
	config["datapath-id"] = fmt.Sprintf("%016x", pl.spec.DatapathID)
	config["disable-in-band"] = "true"
	if !maps.Equal(config, have.OtherConfig) {
		row["other_config"] = stringMap(config)
	}
}

// orSystem is the datapath type that an empty one stands for.
func orSystem(datapathType string) string {
	if datapathType == "" {
		return "system"
	}
	return datapathType
}

// controllers plans the one Controller row, and puts the column of that name
// into row if it is not right.
func (pl *plan) controllers(row ovsdb.Row) error {
	var ours []*controllerRow
	var foreign []string
	for _, id := range pl.picture.bridge.Controller {
		c := pl.picture.controllers[id]
		switch {
		case c == nil:
		case c.ExternalIDs[externalIDOwner] == ownsController || c.Target == pl.spec.Controller:
			ours = append(ours, c)
		default:
			foreign = append(foreign, c.Target)
		}
	}
	if len(foreign) > 0 {
		slices.Sort(foreign)
		return fmt.Errorf("bridge %s is under another controller, %s; if that is to end, run 'ovs-vsctl del-controller %s' on the host",
			pl.bridge, strings.Join(foreign, " and "), pl.bridge)
	}
	if pl.spec.Controller == "" {
		if len(ours) > 0 {
			row["controller"] = uuidSet(nil)
		}
		return nil
	}
	if len(ours) == 0 {
		const name = "new_controller"
		columns := ovsdb.Row{}
		pl.controllerColumns(&controllerRow{}, columns)
		pl.add(ovsdb.Operation{Op: ovsdb.OperationInsert, Table: tableController, UUIDName: name, Row: columns})
		row["controller"] = uuidSet([]string{name})
		return nil
	}
	keep := ours[0]
	columns := ovsdb.Row{}
	pl.controllerColumns(keep, columns)
	if len(columns) > 0 {
		pl.add(ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: tableController, Where: byUUID(keep.UUID), Row: columns})
	}
	if len(ours) > 1 {
		row["controller"] = uuidSet([]string{keep.UUID})
	}
	return nil
}

func (pl *plan) controllerColumns(have *controllerRow, row ovsdb.Row) {
	if have.Target != pl.spec.Controller {
		row["target"] = pl.spec.Controller
	}
	if value(have.ConnectionMode) != outOfBand {
		row["connection_mode"] = outOfBand
	}
	if have.InactivityProbe == nil || *have.InactivityProbe != pl.spec.inactivityProbe() {
		row["inactivity_probe"] = pl.spec.inactivityProbe()
	}
	if value(have.MaxBackoff) != controllerBackoff {
		row["max_backoff"] = controllerBackoff
	}
	if have.ExternalIDs[externalIDOwner] != ownsController {
		row["external_ids"] = withOwner(have.ExternalIDs, ownsController)
	}
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

// addPort plans a port with one interface and gives the port's name for rows of
// the same transaction.
func (pl *plan) addPort(name string, columns ovsdb.Row) string {
	n := strconv.Itoa(len(pl.ops))
	iface, port := "new_interface"+n, "new_port"+n
	columns["name"] = name
	pl.add(ovsdb.Operation{Op: ovsdb.OperationInsert, Table: tableInterface, UUIDName: iface, Row: columns})
	pl.add(ovsdb.Operation{
		Op: ovsdb.OperationInsert, Table: tablePort, UUIDName: port,
		Row: ovsdb.Row{"name": name, "interfaces": uuidSet([]string{iface})},
	})
	return port
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
	if kind != t.Type && kind.defaultPort() == 0 {
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
	if kind == t.Type && !anyPacket && i.Options["exts"] == "" {
		return nil
	}
	what := "GRE"
	if port != 0 {
		what = fmt.Sprintf("UDP port %d", port)
	}
	return fmt.Errorf("tunnel port %s cannot be made: %s is in use by interface %s (%s) of bridge %s; remove that or choose another port",
		t.Name, what, i.Name, i.Type, b.Name)
}

func withOwner(ids map[string]string, owner string) ovsdb.OvsMap {
	ids = maps.Clone(ids)
	if ids == nil {
		ids = map[string]string{}
	}
	ids[externalIDOwner] = owner
	return stringMap(ids)
}

func stringMap(m map[string]string) ovsdb.OvsMap {
	out := make(map[any]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return ovsdb.OvsMap{GoMap: out}
}

// uuidSet is a set of rows, each by its UUID or by its name in the transaction.
func uuidSet(ids []string) ovsdb.OvsSet {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = ovsdb.UUID{GoUUID: id}
	}
	return ovsdb.OvsSet{GoSet: out}
}

func byUUID(id string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: id})}
}
