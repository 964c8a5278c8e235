package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// MigrateMachine moves a running machine to another host, live. Its ports are
// plugged in there first, with the same iface-ids; then arrived, if not nil, is
// called, which may wait until the controller has prepared them; then the guest
// goes over, and its ports on the host it comes from are unplugged. If anything
// fails, or ctx ends before that, the machine runs on where it was, and nothing
// is left on the other host.
func (m *Manager) MigrateMachine(ctx context.Context, lab, name, host string, arrived func(context.Context) error) (done qemu.Migration, err error) {
	err = m.editMachine(ctx, lab, "migrate", name, func(l *instance, v Machine) error {
		done, err = l.migrate(ctx, v, host, arrived)
		return err
	})
	return done, err
}

func (l *instance) migrate(ctx context.Context, v Machine, host string, arrived func(context.Context) error) (qemu.Migration, error) {
	var done qemu.Migration
	if _, ok := l.st.Spec.host(host); !ok {
		return done, fmt.Errorf("the lab has no host %q", host)
	}
	if host == v.Host {
		return done, fmt.Errorf("it is on %s already", host)
	}
	s, err := l.adopt(v.Host, v.Name)
	if err != nil {
		return done, err
	}
	if !s.Supervisor.alive() || s.ended() {
		return done, errors.New("it does not run; `lab start` starts it")
	}
	if free, err := availableMemory(); err == nil && free < v.Memory {
		return done, fmt.Errorf("for a while it needs its %d MiB of memory twice, and %d MiB are available", v.Memory, free)
	}
	there := v
	there.Host = host
	if done, err = l.handOver(ctx, v, there, arrived); err != nil {
		uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
		defer cancel()
		return done, errors.Join(err, l.removeMachine(uctx, there))
	}
	// From here on it is there, also if what is left here does not go.
	uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := l.update(func(st *state) {
		st.Spec.Machines = slices.Clone(st.Spec.Machines)
		i := slices.IndexFunc(st.Spec.Machines, func(x Machine) bool { return x.Name == v.Name })
		st.Spec.Machines[i] = there
	}); err != nil {
		return done, err
	}
	if err := l.removeMachine(uctx, v); err != nil {
		return done, fmt.Errorf("it runs on %s, but what is left of it on %s does not go: %w; run `lab up` again", host, v.Host, err)
	}
	return done, nil
}

// handOver brings the guest of here to there. On an error it runs here.
func (l *instance) handOver(ctx context.Context, here, there Machine, arrived func(context.Context) error) (qemu.Migration, error) {
	from, to := l.m.machineDir(l.name, here.Host, here.Name), l.m.machineDir(l.name, there.Host, there.Name)
	if err := copyConsole(from, to); err != nil {
		return qemu.Migration{}, err
	}
	if err := l.startMachine(ctx, machinePlan{Machine: there, Incoming: true}); err != nil {
		return qemu.Migration{}, fmt.Errorf("on %s: %w", there.Host, err)
	}
	if arrived != nil {
		if err := arrived(ctx); err != nil {
			return qemu.Migration{}, err
		}
	}
	done, err := qemu.Migrate(ctx, from, to)
	if err != nil {
		return done, err
	}
	// It was handed over: only that it runs there makes it true.
	uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	l.mu.Lock()
	p := l.st.Processes[machineKey(there.Host, there.Name)]
	l.mu.Unlock()
	if _, err := awaitMachine(uctx, to, p, func(s machineState) bool { return s.Phase == MachineReady }); err != nil {
		// Two must not run: what is there goes first.
		if rerr := l.haltMachine(uctx, there.Host, there.Name); rerr != nil {
			return done, fmt.Errorf("on %s: %w; it is stopped here, since that one does not go: %w", there.Host, err, rerr)
		}
		return done, errors.Join(fmt.Errorf("on %s: %w", there.Host, err), qemu.Resume(uctx, from))
	}
	return done, nil
}

// copyConsole makes what the console has said go on in another directory.
func copyConsole(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	in, err := os.Open(filepath.Join(from, qemu.ConsoleLog))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(to, qemu.ConsoleLog))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, 2*maxConsole))
	return errors.Join(err, out.Close())
}

// removeMachine ends the machine where it is and removes its files.
func (l *instance) removeMachine(ctx context.Context, v Machine) error {
	if err := l.haltMachine(ctx, v.Host, v.Name); err != nil {
		return err
	}
	return os.RemoveAll(l.m.machineDir(l.name, v.Host, v.Name))
}
