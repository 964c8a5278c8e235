package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

func TestMigrateToWhereItIs(t *testing.T) {
	for _, c := range []struct {
		host, to, want string
		standby        *api.Standby
	}{
		{host: "host1", to: "host2"},
		{host: "host1", to: "any"},
		{to: "host2"},
		{host: "host1", to: "host2", standby: &api.Standby{Claim: api.Claim{Host: "host2"}}},
		{host: "host2", to: "host2", want: "port vm is on host2 already"},
		{host: "host2", to: "host2", standby: &api.Standby{Claim: api.Claim{Host: "host1"}, Source: true}, want: "detaching it from host1"},
	} {
		p := &api.Port{Status: api.PortStatus{Host: c.host, Standby: c.standby}}
		p.Name = "vm"
		err := isElsewhere(p, c.to)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The time of a command is over in the middle of a question, mostly: what is said is
// the last answer, not that the controller gave none.
func TestPollSaysWhatItWaitedFor(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := 0
	err := poll(ctx, func() (bool, string, error) {
		if asked++; asked == 1 {
			return false, "port vm is up on host1", nil
		}
		cancel(context.DeadlineExceeded)
		return false, "", errors.New("waiting for the controller")
	})
	if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "the time is up; port vm is up on host1" {
		t.Error(err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	err = poll(ctx, func() (bool, string, error) { return false, "", errors.New("nobody answers") })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "nobody answers") {
		t.Error(err)
	}
}
