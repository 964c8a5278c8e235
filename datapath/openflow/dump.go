package openflow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Dump is what a switch holds.
type Dump struct {
	// Flows, Groups and Meters are ours only after Conn.Dump, everybody's after
	// Conn.DumpAll.
	Flows  []flows.FlowStats
	Groups []*flows.Group
	Meters []*flows.Meter
	// Unreadable are entries that use something this program does not know.
	Unreadable []Unreadable
	// How many entries are not ours.
	ForeignFlows, ForeignGroups, ForeignMeters int

	ownGroup, ownMeter func(uint32) bool
}

// Unreadable is an entry that could not be decoded.
type Unreadable struct {
	Kind     string       // "flow", "group" or "meter"
	Cookie   flows.Cookie // of a flow
	Table    uint8        // of a flow
	Priority uint16       // of a flow
	ID       uint32       // of a group or a meter
	Raw      []byte       // the entry as it came in the multipart reply
	Err      error        // names what is unknown
}

// State is what is ours of the dump, for comparing with what should be there.
func (d *Dump) State() *flows.State {
	p := &flows.Part{Flows: make([]*flows.Flow, 0, len(d.Flows))}
	for _, s := range d.Flows {
		if s.Flow.Cookie.Ours() {
			p.Flows = append(p.Flows, s.Flow)
		}
	}
	for _, g := range d.Groups {
		if d.ownGroup(g.ID) {
			p.Groups = append(p.Groups, g)
		}
	}
	for _, m := range d.Meters {
		if d.ownMeter(m.ID) {
			p.Meters = append(p.Meters, m)
		}
	}
	return flows.Flat(p)
}

// Dump reads the flows that carry our cookie and the groups and meters that are
// ours, and counts the others. An entry that cannot be read costs nothing but
// itself: see Dump.Unreadable.
func (c *Conn) Dump(ctx context.Context) (*Dump, error) {
	ours := ofp13.FlowFilter{
		Table:      ofp13.AllTables,
		Cookie:     uint64(flows.NewCookie(0, 0, 0)),
		CookieMask: uint64(flows.CookieMask),
	}
	d, err := c.dump(ctx, ours)
	if err != nil {
		return nil, fmt.Errorf("openflow: %s: dump: %w", c.peer, err)
	}
	d.Groups = slices.DeleteFunc(d.Groups, func(g *flows.Group) bool { return !c.opts.OwnGroup(g.ID) })
	d.Meters = slices.DeleteFunc(d.Meters, func(m *flows.Meter) bool { return !c.opts.OwnMeter(m.ID) })
	d.Unreadable = slices.DeleteFunc(d.Unreadable, func(u Unreadable) bool {
		return u.Kind == "group" && !c.opts.OwnGroup(u.ID) || u.Kind == "meter" && !c.opts.OwnMeter(u.ID)
	})
	return d, nil
}

// DumpAll reads all flows, groups and meters, whoever put them there.
func (c *Conn) DumpAll(ctx context.Context) (*Dump, error) {
	d, err := c.dump(ctx, ofp13.FlowFilter{Table: ofp13.AllTables})
	if err != nil {
		return nil, fmt.Errorf("openflow: %s: dump: %w", c.peer, err)
	}
	return d, nil
}

// dump sends all requests at once and decodes while replies come in.
func (c *Conn) dump(ctx context.Context, f ofp13.FlowFilter) (*Dump, error) {
	d := &Dump{ownGroup: c.opts.OwnGroup, ownMeter: c.opts.OwnMeter}
	ask := []struct {
		build func([]byte, uint32) ([]byte, error)
		take  func(body []byte) error
	}{
		{func(b []byte, xid uint32) ([]byte, error) {
			return ofp13.AppendMultipartRequest(b, xid, ofp13.MultipartGroupDesc)
		}, d.takeGroups},
		{func(b []byte, xid uint32) ([]byte, error) {
			return ofp13.AppendMeterConfigRequest(b, xid, ofp13.AllMeters)
		}, d.takeMeters},
		{func(b []byte, xid uint32) ([]byte, error) {
			return ofp13.AppendFlowStatsRequest(b, xid, ofp13.MultipartAggregate, ofp13.FlowFilter{Table: ofp13.AllTables})
		}, d.takeAggregate},
		{func(b []byte, xid uint32) ([]byte, error) {
			return ofp13.AppendFlowStatsRequest(b, xid, ofp13.MultipartFlow, f)
		}, d.takeFlows},
	}
	calls := make([]*call, len(ask))
	defer func() {
		for _, k := range calls {
			if k != nil {
				c.forget(k)
			}
		}
	}()
	var err error
	for i, a := range ask {
		if calls[i], err = c.request(ctx, ofp13.TypeMultipartReply, a.build); err != nil {
			return nil, err
		}
	}
	for i, a := range ask {
		if err := c.collect(ctx, calls[i], a.take); err != nil {
			return nil, err
		}
	}
	// The aggregate counted everybody's flows; what is ours was read.
	ours := 0
	for _, s := range d.Flows {
		if s.Flow.Cookie.Ours() {
			ours++
		}
	}
	for _, u := range d.Unreadable {
		if u.Kind == "flow" && u.Cookie.Ours() {
			ours++
		}
	}
	d.ForeignFlows = max(d.ForeignFlows-ours, 0)
	return d, nil
}

// collect feeds the bodies of a multipart reply to take.
func (c *Conn) collect(ctx context.Context, k *call, take func([]byte) error) error {
	for {
		parts, done, err := c.next(ctx, k)
		for _, p := range parts {
			if err := take(p); err != nil {
				return err
			}
		}
		if err != nil || done {
			return err
		}
	}
}

func (d *Dump) takeFlows(body []byte) error {
	for e, err := range ofp13.Entries(body, ofp13.FlowStatsLen) {
		if err != nil {
			return err
		}
		h, s, err := ofp13.DecodeFlowStats(e)
		if err != nil {
			d.Unreadable = append(d.Unreadable, Unreadable{
				Kind: "flow", Cookie: h.Cookie, Table: h.Table, Priority: h.Priority, Raw: slices.Clone(e), Err: err,
			})
			continue
		}
		d.Flows = append(d.Flows, s)
	}
	return nil
}

func (d *Dump) takeAggregate(body []byte) error {
	a, err := ofp13.DecodeAggregate(body)
	d.ForeignFlows = int(a.Flows)
	return err
}

func (d *Dump) takeGroups(body []byte) error {
	for e, err := range ofp13.Entries(body, ofp13.GroupDescLen) {
		if err != nil {
			return err
		}
		g, err := ofp13.DecodeGroupDesc(e)
		if !d.ownGroup(g.ID) {
			d.ForeignGroups++
		}
		if err != nil {
			d.Unreadable = append(d.Unreadable, Unreadable{Kind: "group", ID: g.ID, Raw: slices.Clone(e), Err: err})
			continue
		}
		d.Groups = append(d.Groups, g)
	}
	return nil
}

func (d *Dump) takeMeters(body []byte) error {
	for e, err := range ofp13.Entries(body, ofp13.MeterConfigLen) {
		if err != nil {
			return err
		}
		m, err := ofp13.DecodeMeterConfig(e)
		if !d.ownMeter(m.ID) {
			d.ForeignMeters++
		}
		if err != nil {
			d.Unreadable = append(d.Unreadable, Unreadable{Kind: "meter", ID: m.ID, Raw: slices.Clone(e), Err: err})
			continue
		}
		d.Meters = append(d.Meters, m)
	}
	return nil
}

// FlowStats reads the flows of one table whose cookies are cookie under mask, with
// their statistics. Flows that cannot be read are left out: nothing that this
// program writes is unreadable to it.
func (c *Conn) FlowStats(ctx context.Context, table uint8, cookie, mask flows.Cookie) ([]flows.FlowStats, error) {
	filter := ofp13.FlowFilter{Table: table, Cookie: uint64(cookie), CookieMask: uint64(mask)}
	k, err := c.request(ctx, ofp13.TypeMultipartReply, func(b []byte, xid uint32) ([]byte, error) {
		return ofp13.AppendFlowStatsRequest(b, xid, ofp13.MultipartFlow, filter)
	})
	if err != nil {
		return nil, err
	}
	defer c.forget(k)
	d := &Dump{}
	if err := c.collect(ctx, k, d.takeFlows); err != nil {
		return nil, fmt.Errorf("openflow: %s: flow statistics of table %d: %w", c.peer, table, err)
	}
	return d.Flows, nil
}

// Ports reads the ports of the switch.
func (c *Conn) Ports(ctx context.Context) ([]PortDesc, error) {
	k, err := c.request(ctx, ofp13.TypeMultipartReply, func(b []byte, xid uint32) ([]byte, error) {
		return ofp13.AppendMultipartRequest(b, xid, ofp13.MultipartPortDesc)
	})
	if err != nil {
		return nil, err
	}
	defer c.forget(k)
	var ports []PortDesc
	err = c.collect(ctx, k, func(body []byte) error {
		ps, err := ofp13.DecodePortDescs(body)
		ports = append(ports, ps...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("openflow: %s: ports: %w", c.peer, err)
	}
	return ports, nil
}

// PortStats reads the counters of all ports of the switch.
func (c *Conn) PortStats(ctx context.Context) ([]ofp13.PortStats, error) {
	k, err := c.request(ctx, ofp13.TypeMultipartReply, ofp13.AppendPortStatsRequest)
	if err != nil {
		return nil, err
	}
	defer c.forget(k)
	var stats []ofp13.PortStats
	err = c.collect(ctx, k, func(body []byte) error {
		s, err := ofp13.DecodePortStats(body)
		stats = append(stats, s...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("openflow: %s: counters of the ports: %w", c.peer, err)
	}
	return stats, nil
}

// Describe reads how the switch describes itself.
func (c *Conn) Describe(ctx context.Context) (ofp13.SwitchDesc, error) {
	var d ofp13.SwitchDesc
	k, err := c.request(ctx, ofp13.TypeMultipartReply, func(b []byte, xid uint32) ([]byte, error) {
		return ofp13.AppendMultipartRequest(b, xid, ofp13.MultipartDesc)
	})
	if err != nil {
		return d, err
	}
	defer c.forget(k)
	none := errors.New("the switch sent no description")
	err = c.collect(ctx, k, func(body []byte) (err error) {
		d, err = ofp13.DecodeSwitchDesc(body)
		none = nil
		return err
	})
	return d, errors.Join(err, none)
}
