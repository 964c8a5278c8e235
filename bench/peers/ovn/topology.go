package ovn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/overlay"
)

// contents is what the northbound database holds: rows by the names of networks and ports.
type contents struct {
	switches map[string]uuid
	ports    map[string]port
}

type port struct {
	overlay.Port
	row uuid
}

// tunnelTo is how ovn-controller names its tunnel to another chassis.
func tunnelTo(chassis string) string { return "ovn-" + chassis + "-0" }

// Apply makes t the whole desired state, in one transaction on the northbound database as a
// cloud management system would write it. The switches follow. A network is a logical
// switch; its encapsulation is Geneve and its key is OVN's to choose, whatever t says. A port has its
// addresses, which OVN answers ARP requests for, and may send from no others (port_security), as in
// this project.
func (o *Overlay) Apply(ctx context.Context, t overlay.Topology) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	ops, next := o.current.to(t)
	if len(ops) == 0 {
		return nil
	}
	results, err := o.nb.transact(ctx, ops...)
	if err != nil {
		return err
	}
	next.learn(ops, results)
	o.current = next
	return nil
}

// to is what leads from c to t, and the contents that t comes to, which lack the row of
// what is inserted.
func (c contents) to(t overlay.Topology) ([]operation, contents) {
	next := contents{switches: map[string]uuid{}, ports: map[string]port{}}
	for _, n := range t.Networks {
		next.switches[n.Name] = c.switches[n.Name]
	}
	arriving := map[string]ovsSet{}
	var ops []operation
	for _, p := range t.Ports {
		have, there := c.ports[p.Name()]
		if there && have.Network == p.Network {
			next.ports[p.Name()] = port{p, have.row}
			continue
		}
		next.ports[p.Name()] = port{Port: p}
		addresses := p.MAC().String() + " " + p.Addr().String()
		inserted := fmt.Sprintf("port%d", p.ID)
		ops = append(ops, named(inserted, insert("Logical_Switch_Port", row{
			"name": p.Name(), "addresses": addresses, "port_security": addresses,
		})))
		arriving[p.Network] = append(arriving[p.Network], namedUUID(inserted))
	}
	leaving := map[string]ovsSet{}
	for name, p := range c.ports {
		if stays := next.ports[name]; stays.row == "" || stays.Network != p.Network {
			leaving[p.Network] = append(leaving[p.Network], p.row)
		}
	}
	byRow := func(u uuid) []condition { return []condition{{"_uuid", "==", u}} }
	for _, name := range slices.Sorted(maps.Keys(c.switches)) {
		at := byRow(c.switches[name])
		if _, stays := next.switches[name]; !stays {
			// Its ports go with it.
			ops = append(ops, operation{"op": "delete", "table": "Logical_Switch", "where": at})
			continue
		}
		if len(leaving[name]) > 0 {
			ops = append(ops, mutate("Logical_Switch", at, "ports", "delete", leaving[name]))
		}
	}
	for i, n := range t.Networks {
		u := next.switches[n.Name]
		switch {
		case u == "":
			ops = append(ops, named(fmt.Sprintf("network%d", i), insert("Logical_Switch", row{"name": n.Name, "ports": append(ovsSet{}, arriving[n.Name]...)})))
		case len(arriving[n.Name]) > 0:
			ops = append(ops, mutate("Logical_Switch", byRow(u), "ports", "insert", arriving[n.Name]))
		}
	}
	return ops, next
}

// learn takes the rows of what was inserted from the results of the operations.
func (c contents) learn(ops []operation, results []result) {
	for i, op := range ops {
		if op["op"] != "insert" {
			continue
		}
		name, inserted := op["row"].(row)["name"].(string), uuid(results[i].UUID[1])
		if op["table"] == "Logical_Switch" {
			c.switches[name] = inserted
			continue
		}
		p := c.ports[name]
		p.row = inserted
		c.ports[name] = p
	}
}

// Sync returns when every flow is in the switches that what was applied until now asks for,
// and ports that were claimed until now: what ovn-nbctl --wait=hv sync does. ovn-controller
// reports a number when a barrier has confirmed the flows.
func (o *Overlay) Sync(ctx context.Context) error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	results, err := o.nb.transact(ctx,
		mutate("NB_Global", []condition{}, "nb_cfg", "+=", 1),
		operation{"op": "select", "table": "NB_Global", "where": []condition{}, "columns": []string{"nb_cfg"}})
	if err != nil {
		return err
	}
	var global struct {
		Number int `json:"nb_cfg"`
	}
	if rows := results[1].Rows; len(rows) != 1 {
		return fmt.Errorf("OVSDB %s: NB_Global has %d rows instead of one", o.nb.name, len(rows))
	} else if err := json.Unmarshal(rows[0], &global); err != nil {
		return fmt.Errorf("OVSDB %s: NB_Global: %w", o.nb.name, err)
	}
	_, err = o.nb.transact(ctx, waitFor("NB_Global", []condition{}, []string{"hv_cfg"}, row{"hv_cfg": global.Number}))
	if errors.Is(err, errTimedOut) {
		return fmt.Errorf("the hosts have not reported configuration %d after %s%s", global.Number, settleTimeout, o.complaints())
	}
	return err
}

// Up returns when all is in the switches that t, which was applied, needs: its ports are up, that
// is claimed by the hosts that have them with their flows installed, and then every host has
// the flows to all of them.
func (o *Overlay) Up(ctx context.Context, t overlay.Topology) error {
	down := []condition{{"up", "!=", true}}
	_, err := o.nb.transact(ctx, waitFor("Logical_Switch_Port", down, []string{"name"}))
	if errors.Is(err, errTimedOut) {
		return fmt.Errorf("after %s %s%s", settleTimeout, o.downOf(ctx, t, down), o.complaints())
	}
	if err != nil {
		return err
	}
	return o.Sync(ctx)
}

// downOf names ports of t that are down, for an error.
func (o *Overlay) downOf(ctx context.Context, t overlay.Topology, down []condition) string {
	results, err := o.nb.transact(ctx, operation{"op": "select", "table": "Logical_Switch_Port", "where": down, "columns": []string{"name"}})
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, r := range results[0].Rows {
		names = append(names, string(r))
	}
	return fmt.Sprintf("%d of %d ports are down: %.300s", len(names), len(t.Ports), strings.Join(names, " "))
}

// Down returns when no host shows a port any more and every host has removed its flows.
func (o *Overlay) Down(ctx context.Context, p overlay.Port) error {
	_, err := o.nb.transact(ctx, waitFor("Logical_Switch_Port",
		[]condition{{"name", "==", p.Name()}, {"up", "==", true}}, []string{"name"}))
	if errors.Is(err, errTimedOut) {
		return fmt.Errorf("port %s is still up after %s%s", p.Name(), settleTimeout, o.complaints())
	}
	if err != nil {
		return err
	}
	return o.Sync(ctx)
}
