package verify

// What one host needs and is used again for the next.

// slab keeps many short slices together.
type slab[T any] struct {
	now  []T // the chunk that is being filled
	all  [][]T
	used int // of all
}

// room is n elements, not cleared.
func (s *slab[T]) room(n int) []T {
	for len(s.now)+n > cap(s.now) {
		if s.used == len(s.all) {
			s.all = append(s.all, make([]T, 0, max(1024, n)))
		}
		s.now = s.all[s.used][:0]
		s.used++
	}
	at := len(s.now)
	s.now = s.now[:at+n]
	return s.now[at : at+n : at+n]
}

// keep is a copy of v.
func (s *slab[T]) keep(v []T) []T {
	if len(v) == 0 {
		return nil
	}
	c := s.room(len(v))
	copy(c, v)
	return c
}

// clear takes back all that was given.
func (s *slab[T]) clear() { s.now, s.used = nil, 0 }

// grow is s with n elements at least.
func grow[T any](s []T, n int) []T {
	if n > len(s) {
		s = append(s, make([]T, n-len(s))...)
	}
	return s
}

// interner numbers what is different, from 0 on, by an open hash table.
type interner struct {
	hashes []uint64
	places []int32 // numbers plus 1, 0 where none is; as many as a power of 2
}

// number is the number of what has a hash and for which same is true, or, if there is
// none yet, a new one.
func (t *interner) number(hash uint64, same func(int32) bool) (n int32, fresh bool) {
	if 2*len(t.hashes) >= len(t.places) {
		t.enlarge()
	}
	last := uint64(len(t.places) - 1)
	for i := hash & last; ; i = (i + 1) & last {
		switch n := t.places[i] - 1; {
		case n < 0:
			t.hashes = append(t.hashes, hash)
			t.places[i] = int32(len(t.hashes))
			return int32(len(t.hashes) - 1), true
		case t.hashes[n] == hash && same(n):
			return n, false
		}
	}
}

func (t *interner) enlarge() {
	t.places = make([]int32, max(1024, 2*len(t.places)))
	last := uint64(len(t.places) - 1)
	for n, hash := range t.hashes {
		i := hash & last
		for t.places[i] != 0 {
			i = (i + 1) & last
		}
		t.places[i] = int32(n + 1)
	}
}

func (t *interner) clear() {
	t.hashes = t.hashes[:0]
	clear(t.places)
}

// queue is numbers, first in, first out.
type queue struct {
	list []int32
	gone int
}

func (q *queue) put(i int32) { q.list = append(q.list, i) }

func (q *queue) get() (i int32, any bool) {
	if q.gone == len(q.list) {
		q.clear()
		return 0, false
	}
	q.gone++
	return q.list[q.gone-1], true
}

func (q *queue) clear() { q.list, q.gone = q.list[:0], 0 }
