package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// doubling are tables in each of which one flow notes a bit of the packet in a register
// and another one does not, so that there are twice as many sets of packets behind it.
func doubling(tables int) planted {
	var b strings.Builder
	fmt.Fprintf(&b, "table=0,priority=500,in_port=1 actions=goto_table:100\n")
	for i := range tables {
		n, m := 100+i, uint64(1)<<i
		mac := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m>>40&0xff, m>>32&0xff, m>>24&0xff, m>>16&0xff, m>>8&0xff, m&0xff)
		next := fmt.Sprintf("goto_table:%d", n+1)
		if i == tables-1 {
			next = "output:2"
		}
		fmt.Fprintf(&b, "table=%d,priority=2,dl_dst=%s/%s actions=load:1->NXM_NX_REG8[%d],%s\n", n, mac, mac, i, next)
		fmt.Fprintf(&b, "table=%d,priority=1 actions=%s\n", n, next)
	}
	fmt.Fprintf(&b, "table=%d,priority=3,reg8=0x1 actions=drop", 100+tables-1)
	return planted{text: b.String()}
}

// TestWhatIsTooMuchIsGivenUp: flows that tell more sets of packets apart than can be looked at
// end in a doubt, and the search for packets ends, too.
func TestWhatIsTooMuchIsGivenUp(t *testing.T) {
	if got := summary(verified(t, plant(t, doubling(6)))); got != "isolation" {
		t.Errorf("64 sets: %s", got)
	}
	o := plant(t, doubling(30))
	o.Workers = 1 // what it was about to do when it gave up is not done to the other hosts
	r := verified(t, o)
	if !strings.Contains(show(r), "sets of packets apart: it was given up") {
		t.Errorf("2^30 sets: %s", show(r))
	}
	for _, d := range r.Doubts {
		if d.Host != o.Hosts[0].Name {
			t.Errorf("host %s is as compiled: %s", d.Host, d.Why)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, plant(t, doubling(30))); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
