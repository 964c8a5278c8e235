package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// StopMode is how a process is stopped.
type StopMode uint8

// The stop modes.
const (
	Gracefully StopMode = iota // SIGTERM, and SIGKILL if that does not help
	AtOnce                     // SIGKILL, as a crash
)

func (l *instance) stopController(ctx context.Context, how StopMode) error {
	p := l.st.Processes[controllerKey]
	if how == AtOnce {
		if err := p.signal(syscall.SIGKILL); err != nil {
			return err
		}
	}
	return stop(ctx, stillAlive(p))
}

// Down removes every trace of the lab: processes, also those its users left in
// its namespaces, namespaces and files. It needs nothing but the state file, and
// goes on where an interrupted Down stopped. It reports whether there was a lab.
func (m *Manager) Down(ctx context.Context, name string) (existed bool, err error) {
	l, err := m.open(ctx, name)
	if errors.Is(err, ErrNoLab) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer l.unlock()
	if err := l.down(ctx); err != nil {
		return true, fmt.Errorf("lab %s: down: %w; run it again", name, err)
	}
	return true, nil
}

func (l *instance) down(ctx context.Context) error {
	if err := l.update(func(st *state) { st.Phase = PhaseStopping }); err != nil {
		return err
	}
	// The controller first: it would report each switch that goes. Then the machines,
	// which take their ports out of the switches.
	var machines, daemons []process
	for key, p := range l.st.Processes {
		switch {
		case strings.Contains(key, "/machine/"):
			machines = append(machines, p)
		case key != controllerKey:
			daemons = append(daemons, p)
		}
	}
	for _, ps := range [][]process{{l.st.Processes[controllerKey]}, machines, daemons} {
		if err := stop(ctx, stillAlive(ps...)); err != nil {
			return err
		}
	}
	if err := removeNamespaces(ctx, l.st.Namespaces); err != nil {
		return err
	}
	// The state file goes last, so that what fails before can be repeated.
	for _, part := range []string{"hosts", "guests", "controller", ""} {
		if err := os.RemoveAll(filepath.Join(l.m.Dir(l.name), part)); err != nil {
			return err
		}
	}
	return nil
}

// removeNamespaces ends the processes in the namespaces, then deletes them.
func removeNamespaces(ctx context.Context, names []string) error {
	if err := stop(ctx, func() ([]process, error) { return inhabitants(names) }); err != nil {
		return err
	}
	// The kernel waits a while in each unmount: many at once take as long as one.
	var group errgroup.Group
	group.SetLimit(16)
	for _, n := range names {
		group.Go(func() error { return netdev.DeleteNamespace(n) })
	}
	return group.Wait()
}
