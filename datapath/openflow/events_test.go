package openflow

import (
	"slices"
	"testing"
)

// taken are the values of all that waits.
func taken(q *events) (got []int) {
	for b := q.take(); b != nil; b = q.take() {
		for _, e := range b.events {
			got = append(got, e.other.(int))
		}
		q.reuse(b)
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
	if got := taken(q); got != nil {
		t.Errorf("took %v before it was published", got)
	}
	q.publish()
	add(3, true)
	add(4, false)
	q.publish() // behind what waits already
	q.publish() // nothing
	if got := taken(q); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("took %v", got)
	}
	// What was taken out of the queue but not yet given to a callback still counts.
	add(5, false)
	q.taken.Store(2)
	add(6, true)
	add(7, true)
	add(8, false)
	q.publish()
	if got := taken(q); !slices.Equal(got, []int{6, 7}) {
		t.Errorf("took %v", got)
	}
	if len(q.done) > maxDone {
		t.Errorf("%d batches are kept", len(q.done))
	}
}
