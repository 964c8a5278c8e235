package pipeline

import (
	"fmt"
	"slices"

	f "github.com/ofctl-lab/ofctl-lab/flows"
)

// Check holds a flow against the declaration of its table: what it matches,
// writes, goes to and how it sends. Prerequisites of a declared field
// (eth_type, ip_proto) need no declaration of their own. Drops have a reason
// and nothing else; everything else has not.
func Check(flow *f.Flow) error {
	d := declaration(Table(flow.Table))
	if d == nil {
		return fmt.Errorf("flow %s: the pipeline has no table %d", flow, flow.Table)
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("table %s: flow %s: %s", d.Name, flow, fmt.Sprintf(format, args...))
	}
	if !flow.Cookie.Ours() || flow.Cookie.Generation() != Generation {
		return fail("cookie is not of this pipeline")
	}
	if _, ok := features[Feature(flow.Cookie.Feature())]; !ok {
		return fail("feature %d has no name", flow.Cookie.Feature())
	}
	for _, m := range flow.Match {
		if !slices.Contains(d.Matches, m.Field) {
			return fail("matches %s, which is not declared", m.Field.Name())
		}
	}
	ends := len(flow.Apply) == 0 && flow.Goto == 0
	if ends != IsDrop(flow.Cookie.Feature()) {
		return fail("a row drops if and only if its feature is a drop reason")
	}
	if len(flow.Write) > 0 || flow.ClearActions || flow.MetadataMask != 0 {
		return fail("uses an instruction other than apply-actions and goto-table")
	}
	if flow.Goto != 0 && !slices.Contains(d.Next, Table(flow.Goto)) {
		return fail("goes to %s, which is not declared", Table(flow.Goto))
	}
	for _, a := range flow.Apply {
		if err := checkAction(d, a); err != nil {
			return fail("%v", err)
		}
	}
	return nil
}

func checkAction(d *Declaration, a f.Action) error {
	writes := func(field f.Field) error {
		if !slices.Contains(d.Writes, field) {
			return fmt.Errorf("writes %s, which is not declared", field.Name())
		}
		return nil
	}
	switch a := a.(type) {
	case f.SetField:
		return writes(a.Field)
	case f.Move:
		return writes(a.Dst.Field)
	case f.Output:
		if d.Sends != "port" || a.Port >= f.PortMax {
			return fmt.Errorf("sends to port %d, which is not declared", a.Port)
		}
	case f.ToController:
		if d.Sends != "controller" || !f.OurMeter(a.Meter) {
			return fmt.Errorf("sends to the controller, which is not declared, or without a meter")
		}
	case f.ToGroup:
		if d.Sends != "group" {
			return fmt.Errorf("sends to group %d, which is not declared", a.ID)
		}
	default:
		return fmt.Errorf("action %T is in no declaration", a)
	}
	return nil
}

// CheckGroup holds a group against what flood makes of a network: type all, in
// our range, and every bucket sends to one port, or to one more of our groups.
func CheckGroup(g *f.Group) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("group %d: %s", g.ID, fmt.Sprintf(format, args...))
	}
	if !f.OurGroup(g.ID) {
		return fail("number is outside our range")
	}
	if g.Type != f.GroupAll {
		return fail("type is not all")
	}
	for i, b := range g.Buckets {
		for j, a := range b.Actions {
			last := j == len(b.Actions)-1
			switch a := a.(type) {
			case f.SetField:
				if last || !slices.Contains([]f.Field{f.VLANTCI, f.TunID, f.TunIPv4Dst, f.TunIPv6Dst}, a.Field) {
					return fail("bucket %d writes %s where it may not", i, a.Field.Name())
				}
			case f.Output:
				if !last || a.Port >= f.PortMax {
					return fail("bucket %d sends to port %d where it may not", i, a.Port)
				}
			case f.ToGroup:
				if !last || !f.OurGroup(a.ID) {
					return fail("bucket %d sends to group %d where it may not", i, a.ID)
				}
			default:
				return fail("bucket %d: action %T is not one of a flood", i, a)
			}
		}
	}
	return nil
}
