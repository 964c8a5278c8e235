package verify

import (
	"math/bits"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/flows"
)

// A table's rows are found by the fields of a packet that are known from the first
// table on, since a switch sets them itself: the port, the tunnel, the registers.
// A lane is the rows that give the same ones of them a whole value.

// lane is some rows of a table. Buckets are chains of those whose values have the same
// hash; a row that stands in one by chance is rejected as any other that does not match.
type lane struct {
	by      []slot
	full    []flows.Value // all bits of each
	first   int32         // of all its rows, none when it is negative
	buckets []int32       // the first row of each; their number is a power of 2
}

// chain is, for each row, the one that follows it, negative if none does.
type chain []int32

// follow appends the rows from one on.
func (c chain) follow(row int32, to []int32) []int32 {
	for ; row >= 0; row = c[row] {
		to = append(to, row)
	}
	return to
}

// maxLanes bounds them: what would be one more goes with the rows that are always
// looked at.
const maxLanes = 16

// index sorts the rows into lanes.
func (t *table) index(p *program) {
	var keyed slotset
	for s, f := range p.fields {
		if f < flows.EthDst {
			keyed.add(slot(s))
		}
	}
	by := make([]slotset, 0, maxLanes)
	of, size := make([]int8, len(t.rows)), [maxLanes]int{}
	for i := range t.rows {
		var has slotset
		for k := range t.rows[i].wants {
			if w := &t.rows[i].wants[k]; keyed.has(w.slot) && w.m == p.fields[w.slot].FullMask() {
				has.add(w.slot)
			}
		}
		n := slices.Index(by, has)
		switch {
		case n >= 0:
		case len(by) < maxLanes-1:
			n, by = len(by), append(by, has)
		default:
			n = slices.Index(by, slotset{})
			if n < 0 {
				n, by = len(by), append(by, slotset{})
			}
		}
		of[i] = int8(n)
		size[n]++
	}
	t.lanes = make([]lane, len(by))
	for n := range t.lanes {
		t.lanes[n] = newLane(p, by[n], size[n])
	}
	t.next.lane, t.next.bucket = p.links.room(len(t.rows)), p.links.room(len(t.rows))
	for i := len(t.rows) - 1; i >= 0; i-- {
		l := &t.lanes[of[i]]
		t.next.lane[i], l.first = l.first, int32(i)
		b := &l.buckets[l.bucketOf(&t.rows[i])]
		t.next.bucket[i], *b = *b, int32(i)
	}
}

func newLane(p *program, by slotset, size int) lane {
	l := lane{by: by.list(), first: -1}
	for _, s := range l.by {
		l.full = append(l.full, p.fields[s].FullMask())
	}
	l.buckets = p.links.room(1 << bits.Len(uint(size)))
	for i := range l.buckets {
		l.buckets[i] = -1
	}
	return l
}

// hash mixes a value into h (multiply and fold, as wyhash does).
func hash(h uint64, v flows.Value) uint64 {
	hi, lo := bits.Mul64(h^v.Lo^0x9e3779b97f4a7c15, v.Hi^0xd6e8feb86659fd93)
	return hi ^ lo
}

func (l *lane) bucketOf(r *row) uint64 {
	h := uint64(1)
	for k, s := range l.by {
		i := 0
		for r.wants[i].slot != s || r.wants[i].m != l.full[k] {
			i++
		}
		h = hash(h, r.wants[i].v)
	}
	return h & uint64(len(l.buckets)-1)
}

// known reports whether all is known whole of a set of packets that a lane's rows give
// a value, and of a hidden slot.
func (l *lane) known(s *state, hidden slot) bool {
	for k, x := range l.by {
		if x != hidden && s.at[x].m != l.full[k] {
			return false
		}
	}
	return len(l.by) > 0
}

// bucket is the first row of the bucket for what is known.
func (l *lane) bucket(s *state, hidden slot, v flows.Value) int32 {
	h := uint64(1)
	for _, x := range l.by {
		if x == hidden {
			h = hash(h, v)
		} else {
			h = hash(h, s.at[x].v)
		}
	}
	return l.buckets[h&uint64(len(l.buckets)-1)]
}
