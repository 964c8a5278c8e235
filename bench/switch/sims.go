package fleet

import (
	"context"
	"fmt"
	"sync"

	"github.com/ofctl-lab/ofctl-lab/datapath/sim"
)

// Sims are simulated switches that are connected to a controller: unlike those of a Fleet they
// keep what they are told, and answer what they hold. They send packet-ins only when told to.
type Sims struct {
	// Switches have the datapath ids 1, 2, 3 …
	Switches []*sim.Switch

	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// DialSims connects n simulated switches to the controller at addr. Whether it serves them,
// their Counts tell. ctx bounds their connections.
func DialSims(ctx context.Context, network, addr string, n int) *Sims {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &Sims{cancel: cancel}
	for i := range n {
		s := sim.New(uint64(i + 1))
		f.Switches = append(f.Switches, s)
		f.wg.Go(func() {
			err := s.Dial(ctx, network, addr)
			if err == nil {
				err = fmt.Errorf("the controller at %s closed the connection", addr)
			}
			if ctx.Err() == nil {
				f.fail(fmt.Errorf("fleet: simulated switch %d of %d: %w", i+1, n, err))
			}
		})
	}
	return f
}

func (f *Sims) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// Err is the first failure of a connection.
func (f *Sims) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close disconnects the switches and waits until they are.
func (f *Sims) Close() {
	f.cancel(errClosed)
	f.wg.Wait()
}
