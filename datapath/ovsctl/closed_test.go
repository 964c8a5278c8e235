package ovsctl

import (
	"encoding/json"
	"net"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
)

// A switch that has closed its control socket is one error, whatever finds out.
func TestControlClosed(t *testing.T) {
	closedtest.Try(t, ErrPeerClosed, func(t *testing.T) (*net.UnixConn, func() error) {
		ours, theirs := closedtest.Pair(t)
		c := &Control{nc: ours, in: json.NewDecoder(ours)}
		return theirs, func() error { _, err := c.Call(t.Context(), "version"); return err }
	})
}
