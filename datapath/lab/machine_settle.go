package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// settleMachines finds out where the machines are whose migration was begun by a
// command that did not live to see its end: qemu goes on without it. The state
// file names them, see state.HandingOver.
func (l *instance) settleMachines(ctx context.Context) error {
	l.mu.Lock()
	names := slices.Sorted(maps.Keys(l.st.HandingOver))
	l.mu.Unlock()
	for _, name := range names {
		if err := l.settleMachine(ctx, name); err != nil {
			return fmt.Errorf("guest %s: its migration was interrupted: %w", name, err)
		}
	}
	if len(names) > 0 {
		_ = l.takeBack(ctx) // as in edit
	}
	return nil
}

func (l *instance) settleMachine(ctx context.Context, name string) error {
	here, ok := l.st.Spec.machine(name)
	there := here
	there.Host = l.st.HandingOver[name]
	if !ok || there.Host == here.Host {
		return l.update(func(st *state) { delete(st.HandingOver, name) })
	}
	gone, err := l.whereabouts(ctx, here, there)
	if err != nil {
		return err
	}
	if gone {
		l.step("guest %s: its migration to %s was interrupted, and it is there", name, there.Host)
		return l.arrive(ctx, here, there)
	}
	l.step("guest %s: its migration to %s was interrupted, and it is still on %s", name, there.Host, here.Host)
	return l.stay(ctx, there)
}

// whereabouts reports whether the guest of here has gone to there. When it returns
// nil the guest runs on that side, if on any.
func (l *instance) whereabouts(ctx context.Context, here, there Machine) (gone bool, err error) {
	from, to := l.m.machineDir(l.name, here.Host, here.Name), l.m.machineDir(l.name, there.Host, there.Name)
	source, err := l.adopt(here.Host, here.Name)
	if err != nil {
		return false, err
	}
	if _, err := l.adopt(there.Host, there.Name); err != nil {
		return false, err
	}
	if !source.Supervisor.alive() || !source.QEMU.alive() {
		// Whatever runs there is all that there is of it.
		target, err := readMachineState(to)
		return target.Supervisor.alive() && target.QEMU.alive() && target.executes(), err
	}
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	gone, err = qemu.Settle(ctx, from)
	if err != nil || !gone {
		return false, err
	}
	why, err := l.confirm(ctx, from, there)
	return why == nil, err
}

// confirm waits until the guest that has left the qemu in from runs there. If it
// does not, for the reason why, what is there is ended, and the guest goes on where
// it comes from. If that fails too, it runs nowhere, and err is not nil.
func (l *instance) confirm(ctx context.Context, from string, there Machine) (why, err error) {
	to := l.m.machineDir(l.name, there.Host, there.Name)
	s, err := readMachineState(to)
	if err == nil {
		_, err = awaitMachine(ctx, to, s.Supervisor, machineState.executes)
	}
	if err == nil {
		// Its qemu may have died this very moment, which its supervisor has not noted.
		err = execute(ctx, to, "query-status")
	}
	if err == nil {
		return nil, nil
	}
	why = fmt.Errorf("on %s: %w", there.Host, err)
	// Two must not run: what is there goes first. This must be done in time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := l.haltMachine(ctx, there.Host, there.Name); err != nil {
		return why, fmt.Errorf("it is stopped here, since that one does not go: %w", err)
	}
	return why, qemu.Resume(ctx, from)
}

// arrive writes down that the machine is there, and removes what it has left here.
func (l *instance) arrive(ctx context.Context, here, there Machine) error {
	if err := l.update(func(st *state) {
		st.Spec.Machines = slices.Clone(st.Spec.Machines)
		i := slices.IndexFunc(st.Spec.Machines, func(x Machine) bool { return x.Name == here.Name })
		st.Spec.Machines[i] = there
		delete(st.HandingOver, here.Name)
		st.noteMoved(here, there)
	}); err != nil {
		return err
	}
	if err := l.removeMachine(ctx, here); err != nil {
		return fmt.Errorf("it runs on %s, but what is left of it on %s does not go: %w; run `lab up` again", there.Host, here.Host, err)
	}
	return nil
}

// stay removes what there is of a machine that did not go there.
func (l *instance) stay(ctx context.Context, there Machine) error {
	if err := l.removeMachine(ctx, there); err != nil {
		return err
	}
	return l.update(func(st *state) { delete(st.HandingOver, there.Name) })
}

// noteMoved keeps in mind which host the machine was given by the spec of Up.
func (st *state) noteMoved(here, there Machine) {
	declared, moved := st.Moved[here.Name]
	if !moved {
		declared = here.Host
	}
	if declared == there.Host {
		delete(st.Moved, here.Name)
		return
	}
	if st.Moved == nil {
		st.Moved = map[string]string{}
	}
	st.Moved[here.Name] = declared
}

// keepMoved is the spec with the machines that have migrated where they are: what
// declares a machine as before says nothing against it. Whoever gives one another
// host than before has it there.
func (st *state) keepMoved(spec Spec) (kept Spec, moved map[string]string) {
	kept, moved = spec, map[string]string{}
	kept.Machines = slices.Clone(spec.Machines)
	for i, v := range kept.Machines {
		now, ok := st.Spec.machine(v.Name)
		if !ok || st.Moved[v.Name] != v.Host {
			continue
		}
		if _, ok := spec.host(now.Host); !ok {
			continue
		}
		moved[v.Name] = v.Host
		kept.Machines[i].Host = now.Host
	}
	return kept, moved
}

// current is the machine where it runs: a migration whose end nobody has written
// down yet may be complete.
func (l *instance) current(v Machine) Machine {
	host, ok := l.st.HandingOver[v.Name]
	if !ok {
		return v
	}
	if s, err := readMachineState(l.m.machineDir(l.name, host, v.Name)); err == nil && s.Supervisor.alive() && s.executes() {
		v.Host = host
	}
	return v
}

// supervisorsOf are the hosts on which a supervisor of the machine was started.
func (l *instance) supervisorsOf(v Machine) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := []string{v.Host}
	for _, h := range l.st.Spec.Hosts {
		if _, ok := l.st.Processes[machineKey(h.Name, v.Name)]; ok && h.Name != v.Host {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}

// haltEverywhere ends all there is of the machine, on whichever host.
func (l *instance) haltEverywhere(ctx context.Context, v Machine) error {
	var errs []error
	for _, host := range l.supervisorsOf(v) {
		errs = append(errs, l.haltMachine(ctx, host, v.Name))
	}
	return errors.Join(errs...)
}
