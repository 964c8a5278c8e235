package explain

import (
	"maps"
	"slices"
)

// Counted names a counter: that of a flow as it prints itself, or of packets sent by a
// port.
type Counted struct {
	Host string
	Flow string
	Port uint32
}

// Counters are values of counters. One that is not kept is not there.
type Counters map[Counted]uint64

// Expect is which counters a packet with that report goes through, none of which has
// counted yet.
func Expect(r *Report) *Live {
	l := &Live{Rows: []LiveRow{}, Ports: []LivePort{}}
	l.hop(r.Hop)
	for _, d := range r.Deliveries {
		if p := (LivePort{Host: d.Host, Port: d.Port, OFPort: d.OFPort}); !d.Controller && !slices.Contains(l.Ports, p) {
			l.Ports = append(l.Ports, p)
		}
	}
	return l
}

func (l *Live) hop(h *Hop) {
	for _, b := range h.Branches {
		for _, s := range b.Steps {
			if s.Flow != nil {
				row := LiveRow{Host: h.Host, Table: s.Table, Name: s.Name, Match: s.Flow.Match, raw: s.Flow.Raw}
				if !slices.Contains(l.Rows, row) {
					l.Rows = append(l.Rows, row)
				}
			}
			if s.Output != nil && s.Output.Next != nil {
				l.hop(s.Output.Next)
			}
		}
	}
}

// Hosts are those that have a counter, sorted.
func (l *Live) Hosts() []string {
	set := map[string]bool{}
	for _, r := range l.Rows {
		set[r.Host] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Count says what the counters have counted between two readings.
func (l *Live) Count(before, after Counters) {
	l.Agrees = true
	count := func(c Counted) (uint64, bool) {
		now, ok := after[c]
		return now - min(before[c], now), ok // a flow that was put anew starts at 0
	}
	for i := range l.Rows {
		r := &l.Rows[i]
		r.Packets, _ = count(Counted{Host: r.Host, Flow: r.raw})
		l.Agrees = l.Agrees && r.Packets > 0
	}
	for i := range l.Ports {
		p := &l.Ports[i]
		var kept bool
		p.Packets, kept = count(Counted{Host: p.Host, Port: p.OFPort})
		p.Uncounted = !kept
		l.Agrees = l.Agrees && (p.Packets > 0 || !kept)
	}
}
