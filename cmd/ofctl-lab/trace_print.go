package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
)

// tracePrinter writes a report for people.
type tracePrinter struct {
	*tables
	options traceOptions
}

func (p *tracePrinter) report(r *explain.Report) {
	if !p.options.minimal {
		p.line("%s%s on %s sends %s", clean(r.Port), inBrackets(r.Network), clean(r.Host), clean(r.Packet))
		for _, s := range r.Filled {
			p.line("  %s", clean(s))
		}
		p.hop(r.Hop, "")
		p.line("")
	}
	p.verdict(r)
	if r.Live != nil {
		p.live(r.Live)
	}
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + clean(s) + ")"
}

// verdict is what becomes of the packet, in a line for each copy and each drop.
func (p *tracePrinter) verdict(r *explain.Report) {
	if r.Verdict == explain.Unknown {
		p.line("unknown")
	}
	for _, w := range r.Why {
		p.line("%s", clean(w))
	}
	p.drops(r.Hop)
	for _, d := range r.Deliveries {
		s := fmt.Sprintf("forwarded to %s on %s", clean(d.Port), clean(d.Host))
		if d.VLAN != 0 {
			s += fmt.Sprintf(", dl_vlan=%d", d.VLAN)
		}
		if len(d.Assumes) > 0 {
			s += ", if " + clean(strings.Join(d.Assumes, ", "))
		}
		p.line("%s", s)
	}
}

// drops say for each drop which flow is the nearest that would have let the packet pass.
func (p *tracePrinter) drops(h *explain.Hop) {
	for _, b := range h.Branches {
		if b.Drop != nil {
			p.drop(b.Drop)
		}
		for _, s := range b.Steps {
			if s.Output != nil && s.Output.Next != nil {
				p.drops(s.Output.Next)
			}
		}
	}
}

func (p *tracePrinter) drop(d *explain.Drop) {
	if d.Meaning != "" {
		p.line("  %s", clean(d.Meaning))
	}
	if d.Flow != nil {
		p.line("  by:      %s", flowText(d.Name, d.Flow))
	}
	if d.Nearest == nil {
		return
	}
	p.line("  nearest: %s", flowText(d.Name, d.Nearest))
	if len(d.Differs) > 0 {
		p.line("  differs: it takes %s", clean(strings.Join(d.Differs, ", ")))
	}
	if p.options.raw {
		p.line("  raw:     %s", clean(d.Nearest.Raw))
	}
}

func flowText(table string, f *explain.Flow) string {
	s := clean(table) + " " + matchText(f)
	if o := ownerText(f); o != "" {
		s += " (" + o + ")"
	}
	return s
}

func matchText(f *explain.Flow) string {
	match := f.Match
	if match == "" {
		match = "any"
	}
	return fmt.Sprintf("%d %s", f.Priority, clean(match))
}

func ownerText(f *explain.Flow) string {
	switch {
	case !f.Ours:
		return "others'"
	case f.Owner == "":
		return ""
	}
	return clean(f.OwnerKind + " " + f.Owner)
}

// hop is what happens on a host, and then on those behind it. by is how it came there.
func (p *tracePrinter) hop(h *explain.Hop, by string) {
	p.line("")
	p.line("%s%s", clean(h.Host), by)
	if p.options.detailed {
		p.line("  %s", clean(h.Packet))
	}
	for _, b := range h.Branches {
		if len(b.Assumes) > 0 {
			p.line("  if %s: %s", clean(strings.Join(b.Assumes, ", ")), b.Verdict)
		}
		p.steps(b.Steps)
	}
	for _, b := range h.Branches {
		for _, s := range b.Steps {
			if o := s.Output; o != nil && o.Next != nil {
				p.hop(o.Next, fmt.Sprintf(", by %s key %d from %s", o.Tunnel.Encap, o.Tunnel.Key, clean(h.Host)))
			}
		}
	}
}

// maxColumn is how wide a cell may make its column.
const maxColumn = 40

func (p *tracePrinter) steps(steps []explain.Step) {
	var rows [][]string
	width := make([]int, 4)
	for _, s := range steps {
		if s.Kind == explain.KindTable {
			row := tableRow(s)
			for i := range width {
				width[i] = min(max(width[i], utf8.RuneCountInString(row[i])), maxColumn)
			}
			rows = append(rows, row)
		}
	}
	for _, s := range steps {
		indent := "  "
		if p.options.detailed {
			indent += strings.Repeat("  ", s.Depth)
		}
		switch s.Kind {
		case explain.KindTable:
			text := indent
			for i, w := range width {
				text += rows[0][i] + strings.Repeat(" ", max(0, w-utf8.RuneCountInString(rows[0][i]))+2)
			}
			p.line("%s%s", text, rows[0][4])
			rows = rows[1:]
			p.flowDetails(indent, s.Flow)
		case explain.KindOutput:
			p.line("%s→ %s", indent, outputText(s.Output))
		case explain.KindUnknown:
			p.line("%sunknown: %s", indent, clean(s.Text))
		case explain.KindBucket, explain.KindActionSet, explain.KindNote:
			if p.options.detailed {
				p.line("%s%s%s", indent, clean(s.Text), changesText(s.Changes))
			}
		case explain.KindRecirculate:
			p.line("%sfrom the connection tracker, %s, to %s", indent, clean(s.Text), clean(s.Name))
		default:
			p.line("%s%s%s", indent, clean(s.Text), changesText(s.Changes))
		}
	}
}

func changesText(changes []string) string {
	if len(changes) == 0 {
		return ""
	}
	return ": " + clean(strings.Join(changes, " "))
}

// tableRow is table, feature, owner, changes and flow.
func tableRow(s explain.Step) []string {
	name := s.Name
	if name == "" {
		name = fmt.Sprint(s.Table)
	}
	row := []string{clean(name), "-", "-", "-", "no flow takes it"}
	if f := s.Flow; f != nil {
		row[4] = matchText(f)
		if o := ownerText(f); o != "" {
			row[2] = o
		}
		if f.Feature != "" {
			row[1] = f.Feature
		}
		if f.Drop {
			row[1] = "drop " + f.Feature
		}
	}
	if len(s.Changes) > 0 {
		row[3] = clean(strings.Join(s.Changes, " "))
	}
	return row
}

func (p *tracePrinter) flowDetails(indent string, f *explain.Flow) {
	if f == nil {
		return
	}
	if p.options.detailed {
		p.line("%s  %s", indent, clean(f.Actions))
	}
	if p.options.raw {
		p.line("%s  %s", indent, clean(f.Raw))
	}
}

func outputText(o *explain.Output) string {
	s := clean(o.Port)
	if t := o.Tunnel; t != nil {
		s = fmt.Sprintf("%s key %d to %s", t.Encap, t.Key, clean(t.Remote))
		if t.Host != "" {
			s += inBrackets(t.Host)
		}
	}
	if o.Void != "" {
		s += ": " + clean(o.Void)
	}
	return s
}

// live says what was counted while the frame was sent.
func (p *tracePrinter) live(l *explain.Live) {
	p.line("")
	p.line("sent; counted since, other traffic included:")
	for _, r := range l.Rows {
		p.line("  %-6s %s %s: %s", fmt.Sprintf("+%d", r.Packets), clean(r.Host), clean(r.Name), clean(r.Match))
	}
	for _, d := range l.Ports {
		n := fmt.Sprintf("+%d", d.Packets)
		if d.Uncounted {
			n = "?"
		}
		p.line("  %-6s %s sent by port %s", n, clean(d.Host), clean(d.Port))
	}
	if !l.Agrees {
		p.line("not all of the way has counted: the switches do not do what the trace says, or their flows changed meanwhile")
	}
}
