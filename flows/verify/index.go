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

// links are, for each row, the rows that follow it.
type links struct{ lane, bucket []int32 }

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
	t.next = links{p.links.room(len(t.rows)), p.links.room(len(t.rows))}
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

// cursor is where a walk through a chain of rows is.
type cursor struct {
	row   int32 // negative at its end
	chain []int32
}

// look starts a walk through the rows that packets of a set may meet.
func (t *table) look(s *state, cs []cursor) []cursor {
	for i := range t.lanes {
		l := &t.lanes[i]
		c := cursor{l.first, t.next.lane}
		if h, known := l.hashOf(s); known {
			c = cursor{l.buckets[h&uint64(len(l.buckets)-1)], t.next.bucket}
		}
		if c.row >= 0 {
			cs = append(cs, c)
		}
	}
	return cs
}

// hashOf is the hash of what a lane's rows give a value, if that is known whole.
func (l *lane) hashOf(s *state) (h uint64, known bool) {
	if len(l.by) == 0 {
		return 0, false
	}
	h = 1
	for k, x := range l.by {
		if s.at[x].m != l.full[k] {
			return 0, false
		}
		h = hash(h, s.at[x].v)
	}
	return h, true
}

// step is the next row of a walk, by descending priority; negative at the end.
func step(cs []cursor) int32 {
	if len(cs) == 0 {
		return -1
	}
	least := &cs[0]
	for i := 1; i < len(cs); i++ {
		if c := &cs[i]; c.row >= 0 && (least.row < 0 || c.row < least.row) {
			least = c
		}
	}
	r := least.row
	if r >= 0 {
		least.row = least.chain[r]
	}
	return r
}
