package netdev

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name        string
		interrupted int   // that many answers are incomplete
		then        error // what the next one says
		asked       int
		err         error
	}{
		{"whole at once", 0, nil, 1, nil},
		{"interrupted once", 1, nil, 2, nil},
		{"interrupted until the last attempt", dumpAttempts - 1, nil, dumpAttempts, nil},
		{"never whole", dumpAttempts, nil, dumpAttempts, netlink.ErrDumpInterrupted},
		{"another error is no reason to ask again", 1, unix.EPERM, 2, unix.EPERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			got, err := Retry(func() ([]int, error) {
				asked++
				if asked <= c.interrupted {
					return []int{1}, netlink.ErrDumpInterrupted
				}
				return []int{1, 2}, c.then
			})
			if asked != c.asked || !errors.Is(err, c.err) {
				t.Errorf("asked %d times, %v; want %d, %v", asked, err, c.asked, c.err)
			}
			if err == nil && !slices.Equal(got, []int{1, 2}) || errors.Is(err, netlink.ErrDumpInterrupted) && got != nil {
				t.Errorf("the list is %v: an incomplete one got through", got)
			}
		})
	}
}
