package netdev

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// dumpAttempts bounds how often a list is asked for. An attempt is interrupted
// when something in the list changes while the kernel writes it out, which takes
// microseconds: ten in a row are no coincidence.
const dumpAttempts = 10

// Retry asks the kernel for a list until it gets a whole one. All lists read by
// netlink go through it: the kernel marks one that has changed while it was
// written out, and such a list may lack what was there all the time.
func Retry[T any](list func() (T, error)) (T, error) {
	for range dumpAttempts {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	var none T
	return none, fmt.Errorf("asked %d times, and each time something changed meanwhile: %w", dumpAttempts, netlink.ErrDumpInterrupted)
}
