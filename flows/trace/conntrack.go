package trace

import (
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// Bits of ct_state (ovs-fields(7)).
const (
	ConnNew         uint32 = 1 << iota // the first packet of a connection
	ConnEstablished                    // of a connection that was committed
	ConnRelated                        // an ICMP error about one, say
	ConnReply                          // in the direction of the replies
	ConnInvalid                        // of no connection: malformed, or out of order
	ConnTracked                        // went through the connection tracker
)

// Conn is what the connection tracker says of a packet.
type Conn struct {
	State uint32 // ConnTracked is added
	Mark  uint32
	Label flows.Value
}

func (c Conn) String() string {
	s := flows.Match{{Field: flows.CTState, Value: flows.U(uint64(c.State | ConnTracked)), Mask: flows.CTState.FullMask()}}.String()
	if c.Mark != 0 {
		s += "," + flows.Match{}.With(flows.CTMark, flows.U(uint64(c.Mark))).String()
	}
	if !c.Label.IsZero() {
		s += "," + flows.Match{}.With(flows.CTLabel, c.Label).String()
	}
	return s
}

// conns are the connections that a packet may be of when nobody says which it is.
var conns = [...]Conn{
	{State: ConnNew}, {State: ConnEstablished}, {State: ConnEstablished | ConnReply},
	{State: ConnNew | ConnRelated}, {State: ConnInvalid},
}

// conntrack sends a copy of the packet through the connection tracker, to go on when
// the packet itself is done.
func (r *run) conntrack(a flows.CT) {
	emit(&r.base, &r.p)
	untrack := func() {
		for f := flows.CTState; f <= flows.CTLabel; f++ {
			r.write(f, flows.Value{}, f.FullMask())
		}
	}
	if a.Table == flows.CTNoTable {
		untrack()
		return
	}
	if r.came == maxRecirculations || r.sent == maxWaiting {
		r.note("the packet came back from the connection tracker %d times: it is dropped", r.came)
		untrack()
		return
	}
	r.sent++
	zone := uint64(a.Zone)
	if a.ZoneSrc != (flows.Subfield{}) {
		zone = subfield(&r.p, a.ZoneSrc).Lo
	}
	w := waiting{p: r.p, set: slices.Clone(r.set), table: a.Table, known: true, came: r.came + 1}
	w.p.reload(r.base.frame)
	c := r.conn(&w)
	if a.Commit {
		c.Mark = c.Mark&^a.MarkMask | a.Mark
		c.Label = c.Label.AndNot(a.LabelMask).Or(a.Label)
		w.known = w.known || a.MarkMask == ^uint32(0) && a.LabelMask == flows.CTLabel.FullMask()
	}
	w.p.u(flows.CTState, uint64(c.State|ConnTracked))
	w.p.u(flows.CTZone, zone)
	w.p.u(flows.CTMark, uint64(c.Mark))
	w.p.fields[flows.CTLabel] = c.Label
	w.step = r.step(Step{Kind: StepRecirculate, Table: a.Table, Note: c.String()})
	r.waiting = append(r.waiting, w)
	untrack()
}

// conn is the connection that the packet is of, as given or assumed.
func (r *run) conn(w *waiting) Conn {
	if n := len(r.o.Conns); n > 0 {
		r.tracked++
		return r.o.Conns[min(r.tracked, n)-1]
	}
	i := r.choose("state of the connection", len(conns), func(i int) string { return conns[i].String() })
	// A new connection has neither mark nor label; what others have nobody said.
	w.known = conns[i].State&ConnNew != 0
	return conns[i]
}
