package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// pollInterval is how often the controller is asked again while waiting.
const pollInterval = 50 * time.Millisecond

// poll asks until done says so or ctx ends, and then says what it was waiting for.
func poll(ctx context.Context, done func() (ok bool, waiting string, err error)) error {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	last := ""
	for {
		ok, waiting, err := done()
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		if waiting == "" {
			waiting = last // the time was over during the question, which says nothing
		}
		last = waiting
		select {
		case <-ctx.Done():
			if waiting == "" && err != nil {
				waiting = err.Error()
			}
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return fmt.Errorf("%w; %s", cause, waiting)
			}
			return &timeUpError{waiting}
		case <-t.C:
		}
	}
}

// timeUpError says that the time of a command was over, and for what it had waited.
type timeUpError struct{ waiting string }

func (e *timeUpError) Error() string { return "the time is up; " + e.waiting }

func (e *timeUpError) Unwrap() error { return context.DeadlineExceeded }

// awaitState waits until the port is in one of the states.
func (d *daemon) awaitState(ctx context.Context, port string, enough func(api.PortStatus) bool) error {
	return poll(ctx, func() (bool, string, error) {
		p, err := d.Port(ctx, port)
		if err != nil {
			return false, "", d.explain(err)
		}
		why := p.Status.Message
		if why == "" {
			why = "see ofctl-lab describe port " + port
		}
		return enough(p.Status), fmt.Sprintf("port %s is %s (%s)", port, p.Status.State, why), nil
	})
}
