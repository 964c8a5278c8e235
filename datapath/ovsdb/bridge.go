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
	// that exists keeps its type, whether it runs or not; a new one gets "system"
	// where that works and "netdev" (in user space) where it does not.
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
		case t.Type != TunnelGRE && t.Type != TunnelIP6GRE && t.Type != TunnelVXLAN && t.Type != TunnelGeneve:
			return fmt.Errorf("tunnel port %s: type %q is none of gre, ip6gre, vxlan and geneve", t.Name, t.Type)
		case t.Name == "" || len(t.Name) > maxInterfaceName || strings.ContainsAny(t.Name, "/ \t\n"):
			return fmt.Errorf("tunnel port %q: a name has 1 to %d bytes and neither slash nor space", t.Name, maxInterfaceName)
		case names[t.Name]:
			return fmt.Errorf("tunnel port %s is there twice", t.Name)
		case t.Type.gre() && t.DstPort != 0:
			return fmt.Errorf("tunnel port %s: GRE has no UDP port", t.Name)
		case ports[t.port()] != "" && t.Type.gre():
			return fmt.Errorf("tunnel ports %s and %s both want GRE", ports[t.port()], t.Name)
		case ports[t.port()] != "":
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
	want   datapathWish
	ops    []ovsdb.Operation
}

// The names by which rows that one transaction inserts refer to each other.
const newBridge = "new_bridge"

// makePlan says what to do, nothing when all is right, or what stands in the way.
func makePlan(p *picture, spec BridgeSpec, bridge string, want datapathWish) ([]ovsdb.Operation, error) {
	pl := &plan{picture: p, spec: spec, bridge: bridge, want: want}
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
	pl.datapath(row)
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
