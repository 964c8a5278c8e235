package verify

import (
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// origin is where the value of a slot comes from: bits of m are those of v, the others
// are bits of another slot, as it was on arrival, shifted left by shift.
type origin struct {
	tern
	from  slot
	shift int
	lost  bool // nobody knows
}

// exact is the set of all packets that take one way through the tables, by what they
// were on arrival: cube holds and none of not does.
type exact struct {
	at   []origin // by slot, what it is now
	cube []tern   // by slot, what it was
	not  [][]want
	lost bool // something on the way could not be followed back
}

func newExact(p *program, s *state) *exact {
	e := &exact{at: make([]origin, len(s.at)), cube: append([]tern(nil), s.at...)}
	for i, t := range s.at {
		// Bits above those of the field are zero.
		t.m = t.m.Or(ones(128).AndNot(p.fields[i].FullMask()))
		e.at[i] = origin{tern: t, from: slot(i)}
	}
	if s.except != nil {
		for _, v := range s.except.values {
			e.not = append(e.not, []want{{s.except.slot, tern{flows.U(v), ones(s.except.bits)}}})
		}
	}
	return e
}

func shift(v flows.Value, n int) flows.Value {
	if n < 0 {
		return v.Shr(uint(-n))
	}
	return v.Shl(uint(n))
}

func (e *exact) move(src, dst slot, a flows.Move, mask flows.Value) {
	by := int(a.Dst.Offset) - int(a.Src.Offset)
	from, to := e.at[src], e.at[dst]
	open := mask.AndNot(shift(from.m, by))
	keep := flows.Value{Hi: ^uint64(0), Lo: ^uint64(0)}.AndNot(mask)
	// What was not constant and stays is of another slot than what comes.
	if from.lost || to.lost || !open.IsZero() && !keep.AndNot(to.m).IsZero() {
		e.at[dst] = origin{lost: true}
		return
	}
	is := origin{from: to.from, shift: to.shift}
	is.v = to.v.And(keep).Or(shift(from.v, by).And(mask))
	is.m = to.m.And(keep).Or(shift(from.m, by).And(mask))
	if !open.IsZero() {
		is.from, is.shift = from.from, from.shift+by
	}
	e.at[dst] = is
}

// before is a match, of what the slots are now, as one of what they were. It is not
// possible when constants contradict it, and lost when it cannot be said.
func (e *exact) before(ws []want) (was []want, possible, lost bool) {
	for _, w := range ws {
		o := e.at[w.slot]
		if o.lost {
			return nil, true, true
		}
		if !w.agrees(o.tern) {
			return nil, false, false
		}
		open := w.m.AndNot(o.m)
		if open.IsZero() {
			continue
		}
		x := want{o.from, tern{shift(w.v.And(open), -o.shift), shift(open, -o.shift)}}
		if !e.cube[x.slot].agrees(x.tern) {
			return nil, false, false
		}
		if !e.cube[x.slot].within(x.tern) {
			was = append(was, x)
		}
	}
	return was, true, false
}

// take narrows the packets to those that a row takes, and not any of those above it.
// It reports false when there are none.
func (e *exact) take(r *row, above []*row) bool {
	for _, a := range above {
		was, possible, lost := e.before(a.wants)
		switch {
		case lost:
			e.lost = true
		case !possible:
		case len(was) == 0:
			return false
		default:
			e.not = append(e.not, was)
		}
	}
	if r == nil {
		return true
	}
	was, possible, lost := e.before(r.wants)
	if !possible {
		return false
	}
	if lost {
		e.lost = true
	}
	for _, w := range was {
		if !e.cube[w.slot].agrees(w.tern) {
			return false
		}
		e.cube[w.slot] = e.cube[w.slot].and(w.tern)
	}
	return true
}

func (e *exact) clone() *exact {
	c := *e
	c.at = append([]origin(nil), e.at...)
	c.cube = append([]tern(nil), e.cube...)
	c.not = e.not[:len(e.not):len(e.not)]
	return &c
}

// Outcomes of solve.
type outcome uint8

const (
	nothing outcome = iota // there is no such packet
	found
	tooMuch // it was not found out
)

// solve narrows cube to packets of which none is in not. budget is how many steps it
// may take.
func solve(cube []tern, not [][]want, budget *int) outcome {
	if *budget--; *budget < 0 {
		return tooMuch
	}
	var hit []want
	for _, n := range not {
		if intersects(cube, n) {
			hit = n
			break
		}
	}
	if hit == nil {
		return found
	}
	// Bit by bit: the packet differs from hit in this one, or agrees and differs in
	// a later one.
	saved := make([]tern, len(hit))
	for i, w := range hit {
		saved[i] = cube[w.slot]
	}
	restore := func() {
		for i := len(hit) - 1; i >= 0; i-- {
			cube[hit[i].slot] = saved[i]
		}
	}
	for _, w := range hit {
		for bit := uint(0); bit < 128; bit++ {
			b := flows.U(1).Shl(bit)
			if w.m.And(b).IsZero() || !cube[w.slot].m.And(b).IsZero() {
				continue
			}
			was := cube[w.slot]
			cube[w.slot] = was.and(tern{b.AndNot(w.v), b})
			if got := solve(cube, not, budget); got != nothing {
				return got
			}
			cube[w.slot] = was.and(tern{w.v.And(b), b})
		}
	}
	restore()
	return nothing
}

func intersects(cube []tern, ws []want) bool {
	for _, w := range ws {
		if !cube[w.slot].agrees(w.tern) {
			return false
		}
	}
	return true
}
