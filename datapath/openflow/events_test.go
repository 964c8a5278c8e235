package openflow

import (
	"slices"
	"testing"
)

func values(events []event) (got []int) {
	for _, e := range events {
		got = append(got, e.other.(int))
	}
	return got
}

func TestEventsAreBoundedAndInOrder(t *testing.T) {
	q := newEvents(3)
	add := func(v int, want bool) {
		t.Helper()
		if got := q.add(event{other: v}); got != want {
			t.Errorf("added %d: %v, want %v", v, got, want)
		}
	}
	add(1, true)
	add(2, true)
	if got := q.take(nil); len(got) != 0 {
		t.Errorf("took %v before it was published", values(got))
	}
	q.publish()
	add(3, true)
	add(4, false)
	q.publish() // behind what waits already
	q.publish() // nothing
	batch := q.take(nil)
	if got := values(batch); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("took %v", got)
	}
	// What was taken out of the queue but not yet given to a callback still counts.
	add(5, false)
	q.taken.Store(2)
	add(6, true)
	add(7, true)
	add(8, false)
	q.publish()
	if got := values(q.take(batch)); !slices.Equal(got, []int{6, 7}) {
		t.Errorf("took %v", got)
	}
}
