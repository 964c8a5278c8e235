package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// MachineMigration are the moments of a machine's migration at which somebody else
// has to do something, or be waited for: under the lab's lock, so that no two
// migrations of a lab are mixed up. Each may be nil.
type MachineMigration struct {
	// Begin is called before the machine's ports are plugged in on the other host: it
	// gives leave for them to be on two. An error ends the migration.
	Begin func(context.Context, Noting) error
	// Arrived is called when they are. It returns when the guest may go over; an error
	// ends the migration.
	Arrived func(context.Context) error
	// End is called once Begin was, before the leave is taken back: with nil if the
	// machine is on the other host, and with what went wrong if it is not. It returns
	// what the migration does.
	End func(context.Context, error) error
}

// MigrateMachine moves a running machine to another host, live. Its ports are
// plugged in there first, with the same iface-ids; then the guest goes over, and
// its ports on the host it comes from are unplugged. If anything fails, or ctx ends
// before that, the machine runs on where it was, and nothing is left on the other
// host. One that is booting goes on with that. Should this process be killed, the
// next command that works on the lab's machines, or Up, finds out on which host the
// guest is, and removes the rest.
func (m *Manager) MigrateMachine(ctx context.Context, lab, name, host string, moments MachineMigration) (done qemu.Migration, err error) {
	err = m.editMachine(ctx, lab, "migrate", name, func(l *instance, v Machine) error {
		if err := l.mayMigrateMachine(v, host); err != nil {
			return err
		}
		var err error
		if moments.Begin != nil {
			err = moments.Begin(ctx, l.note)
		}
		if err == nil {
			done, err = l.migrate(ctx, v, host, moments.Arrived)
		}
		if moments.End != nil {
			err = moments.End(ctx, err)
		}
		return errors.Join(err, l.takeBack(ctx))
	})
	return done, err
}

// mayMigrateMachine reports why the machine cannot migrate to the host.
func (l *instance) mayMigrateMachine(v Machine, host string) error {
	if _, ok := l.st.Spec.host(host); !ok {
		return fmt.Errorf("the lab has no host %q", host)
	}
	if host == v.Host {
		return fmt.Errorf("it is on %s already", host)
	}
	s, err := l.adopt(v.Host, v.Name)
	if err != nil {
		return err
	}
	if !s.Supervisor.alive() || s.ended() {
		return errors.New("it does not run; `lab start` starts it")
	}
	if free, err := availableMemory(); err == nil && free < v.Memory {
		return fmt.Errorf("for a while it needs its %d MiB of memory twice, and %d MiB are available", v.Memory, free)
	}
	return nil
}

func (l *instance) migrate(ctx context.Context, v Machine, host string, arrived func(context.Context) error) (qemu.Migration, error) {
	there := v
	there.Host = host
	// First of all, since qemu goes on without this process.
	if err := l.update(func(st *state) {
		if st.HandingOver == nil {
			st.HandingOver = map[string]string{}
		}
		st.HandingOver[v.Name] = host
	}); err != nil {
		return qemu.Migration{}, err
	}
	done, err := l.handOver(ctx, v, there, arrived)
	uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err != nil {
		return done, errors.Join(err, l.stay(uctx, there))
	}
	// From here on it is there, also if what is left here does not go.
	return done, l.arrive(uctx, v, there)
}

// handOver brings the guest of here to there. On an error it runs here.
func (l *instance) handOver(ctx context.Context, here, there Machine, arrived func(context.Context) error) (qemu.Migration, error) {
	from, to := l.m.machineDir(l.name, here.Host, here.Name), l.m.machineDir(l.name, there.Host, there.Name)
	if err := copyConsole(from, to); err != nil {
		return qemu.Migration{}, err
	}
	s, err := readMachineState(from)
	if err != nil {
		return qemu.Migration{}, err
	}
	if err := l.startMachine(ctx, machinePlan{Machine: there, Incoming: true, Before: s.boot()}); err != nil {
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
	if why, err := l.confirm(uctx, from, there); why != nil {
		return done, errors.Join(why, err)
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
