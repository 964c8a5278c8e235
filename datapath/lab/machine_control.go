package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

const (
	// agentTimeout is how long a guest agent may take to answer.
	agentTimeout = 5 * time.Second
	// agentStart is how long a guest may be ready before its agent is there: it is ready
	// by what it does on its network, and does that first. Where nothing but emulation is to
	// be had, and others want it too, that was seen to take seconds. Many guests have no agent.
	agentStart = 30 * time.Second
	// shutdownTimeout is how long a guest may take to switch itself off.
	shutdownTimeout = 30 * time.Second
)

// ensureMachines makes the machines of a host run, with their ports plugged. It
// does not wait for them to boot.
func (l *instance) ensureMachines(ctx context.Context, host string) error {
	for _, v := range l.st.Spec.machinesOf(host) {
		if err := l.ensureMachine(ctx, v); err != nil {
			return fmt.Errorf("guest %s: %w", v.Name, err)
		}
	}
	return nil
}

func (l *instance) ensureMachine(ctx context.Context, v Machine) error {
	dir := l.m.machineDir(l.name, v.Host, v.Name)
	s, err := l.adopt(v.Host, v.Name)
	if err != nil {
		return err
	}
	if s.Supervisor.alive() && !s.ended() {
		// Its qemu may have been killed this very moment: then it is not running any more.
		running := s.Phase == MachineStarting || s.QEMU.alive()
		var plan machinePlan
		if err := readJSON(filepath.Join(dir, planFile), &plan); err == nil && running && reflect.DeepEqual(plan.Machine, v) {
			return nil
		}
		if err := l.haltMachine(ctx, v.Host, v.Name); err != nil {
			return err
		}
	}
	return l.startMachine(ctx, machinePlan{Machine: v})
}

// adopt is what the machine's supervisor says, which is noted among the lab's
// processes: a command that was interrupted may not have come to that.
func (l *instance) adopt(host, name string) (machineState, error) {
	s, err := readMachineState(l.m.machineDir(l.name, host, name))
	if err != nil || !s.Supervisor.alive() {
		return s, err
	}
	return s, l.update(func(st *state) { st.Processes[machineKey(host, name)] = s.Supervisor })
}

// startMachine starts a machine of which nothing runs, and returns when qemu does.
func (l *instance) startMachine(ctx context.Context, plan machinePlan) error {
	v := plan.Machine
	if err := errors.Join(qemu.Prerequisites(), qemu.CheckFiles(v.Machine)); err != nil {
		return err
	}
	accel, err := l.accelerator(ctx)
	if err != nil {
		return err
	}
	plan.Accel = accel
	dir := l.m.machineDir(l.name, v.Host, v.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// What is left of an earlier run, the console's log aside.
	for _, name := range []string{stateFile, supervisorFile, qemu.MonitorSocket, qemu.SupervisorSocket, qemu.ConsoleSocket, qemu.AgentSocket, qemu.IncomingSocket} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := writeJSON(filepath.Join(dir, planFile), plan); err != nil {
		return err
	}
	l.mu.Lock()
	command := l.st.Supervisor
	l.mu.Unlock()
	if command == nil {
		return errors.New("the lab was brought up without a supervisor for virtual machines; bring it up again")
	}
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, v.Host))
	if err != nil {
		return err
	}
	defer ns.Close()
	c := Command{
		Argv: append(slices.Clone(command.Argv), dir),
		Env:  append(slices.Clone(command.Env), ovsEnv(l.m.hostDir(l.name, v.Host))...),
	}
	p, err := startDetached(ctx, ns, c, filepath.Join(dir, supervisorFile))
	if err != nil {
		return fmt.Errorf("start its supervisor: %w", err)
	}
	if err := l.update(func(st *state) {
		st.Processes[machineKey(v.Host, v.Name)] = p
		st.Halted = slices.DeleteFunc(st.Halted, func(name string) bool { return name == v.Name })
	}); err != nil {
		return err
	}
	_, err = awaitMachine(ctx, dir, p, func(s machineState) bool { return s.Phase != MachineStarting && s.Phase != "" })
	return err
}

// awaitMachine waits until the machine's state is as told; that it has ended, or
// its supervisor, is an error.
func awaitMachine(ctx context.Context, dir string, p process, done func(machineState) bool) (machineState, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		alive := p.alive() // before it is read: the last it says is there then
		s, err := readMachineState(dir)
		switch {
		case err != nil:
			return s, err
		case s.Phase == MachineFailed:
			return s, errors.New(s.Why)
		case s.Phase == MachineStopped:
			return s, fmt.Errorf("it has stopped: %s", s.Why)
		case done(s):
			return s, nil
		case !alive:
			return s, fmt.Errorf("its supervisor ended%s", logTail(filepath.Join(dir, supervisorFile)))
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
	}
}

// haltMachine ends the machine as a power cut does. No error if nothing runs.
func (l *instance) haltMachine(ctx context.Context, host, name string) error {
	s, err := l.adopt(host, name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	p := l.st.Processes[machineKey(host, name)]
	l.mu.Unlock()
	if err := stop(ctx, stillAlive(p, s.Supervisor)); err != nil {
		return err
	}
	// The kernel kills it with its supervisor; it may take a moment.
	if err := stop(ctx, stillAlive(s.QEMU)); err != nil {
		return err
	}
	if err := l.unplugMachine(ctx, host, name); err != nil {
		return err
	}
	return l.update(func(st *state) { delete(st.Processes, machineKey(host, name)) })
}

// unplugMachine takes the ports of a machine that does not run out of its bridge,
// as its supervisor does unless it was killed.
func (l *instance) unplugMachine(ctx context.Context, host, name string) error {
	var plan machinePlan
	err := readJSON(filepath.Join(l.m.machineDir(l.name, host, name), planFile), &plan)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	daemon := l.st.Processes[host+"/ovsdb-server"]
	l.mu.Unlock()
	if !daemon.alive() || len(plan.Machine.NICs) == 0 {
		return nil
	}
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, host))
	if err != nil {
		return err
	}
	defer ns.Close()
	var args []string
	for _, n := range plan.Machine.NICs {
		args = append(args, "--", "--if-exists", "del-port", IntegrationBridge, n.Tap)
	}
	_, err = l.switchOf(host, ns).vsctl(ctx, append([]string{"--no-wait"}, args...)...)
	return err
}

// pruneMachines ends the machines that are no longer in the spec, or elsewhere.
func (l *instance) pruneMachines(ctx context.Context) error {
	l.mu.Lock()
	var keys []string
	for key := range l.st.Processes {
		keys = append(keys, key)
	}
	l.mu.Unlock()
	for _, key := range keys {
		host, name, is := strings.Cut(key, "/machine/")
		if v, ok := l.st.Spec.machine(name); !is || ok && v.Host == host {
			continue
		}
		if err := l.haltMachine(ctx, host, name); err != nil {
			return fmt.Errorf("guest %s: %w", name, err)
		}
		if err := os.RemoveAll(l.m.machineDir(l.name, host, name)); err != nil {
			return err
		}
	}
	return nil
}

// StartMachine starts a machine that does not run, and returns when qemu does; see
// [Manager.AwaitMachines]. No error if it runs.
func (m *Manager) StartMachine(ctx context.Context, lab, name string) error {
	return m.editMachine(ctx, lab, "start", name, func(l *instance, v Machine) error {
		return l.ensureMachine(ctx, v)
	})
}

// StopMachine stops a machine: gracefully its guest is asked to switch itself
// off, by its agent and by the power button, and its power is cut if it has not
// done so after 30 seconds; gracefully says whether it has. No error if it does
// not run. Up starts it again.
func (m *Manager) StopMachine(ctx context.Context, lab, name string, how StopMode) (gracefully bool, err error) {
	err = m.editMachine(ctx, lab, "stop", name, func(l *instance, v Machine) error {
		if how == Gracefully {
			gracefully, err = l.shutDown(ctx, v)
			if err != nil {
				return err
			}
		}
		if err := l.haltEverywhere(ctx, v); err != nil {
			return err
		}
		return l.update(func(st *state) { st.Halted = union(st.Halted, []string{v.Name}) })
	})
	return gracefully, err
}

// shutDown asks the guest to switch itself off and waits until it has.
func (l *instance) shutDown(ctx context.Context, v Machine) (bool, error) {
	dir := l.m.machineDir(l.name, v.Host, v.Name)
	s, err := l.adopt(v.Host, v.Name)
	if err != nil || !s.Supervisor.alive() || s.ended() {
		return true, err
	}
	// Whichever of them the guest listens to.
	asked := askAgent(ctx, dir, qemu.PowerOff)
	pressed := execute(ctx, dir, "system_powerdown")
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if asked != nil && pressed != nil {
		return false, nil // qemu hangs
	}
	wctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	// Its supervisor says when it is off, unless that hangs.
	var gone time.Time
	s, err = awaitMachine(wctx, dir, s.Supervisor, func(now machineState) bool {
		switch {
		case now.QEMU.alive():
			gone = time.Time{}
		case gone.IsZero():
			gone = time.Now()
		}
		return !gone.IsZero() && time.Since(gone) > stopTimeout
	})
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case s.ended() || !s.Supervisor.alive():
		return s.Phase == MachineStopped, nil
	case wctx.Err() != nil:
		return false, nil
	}
	return false, err
}

// patienceWithAgent is how long the agent of the machine in dir is waited for.
func patienceWithAgent(dir string) time.Duration {
	s, err := readMachineState(dir)
	if err != nil || s.Phase != MachineReady {
		return agentTimeout
	}
	return max(agentTimeout, time.Until(s.Ready.Add(agentStart)))
}

func askAgent(ctx context.Context, dir string, how qemu.ShutdownMode) error {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	agent, err := qemu.DialAgent(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(agent.Shutdown(ctx, how), agent.Close())
}

// execute runs one command of QMP's.
func execute(ctx context.Context, dir, command string) error {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	q, err := qemu.DialQMP(ctx, dir, qemu.MonitorSocket)
	if err != nil {
		return err
	}
	return errors.Join(q.Execute(ctx, command, nil, nil), q.Close())
}

// RebootMachine boots a running machine anew, in place: gracefully its guest is
// asked to, which needs its agent; at once it is reset as by the button. It
// returns when the machine begins to boot.
func (m *Manager) RebootMachine(ctx context.Context, lab, name string, how StopMode) error {
	return m.editMachine(ctx, lab, "reboot", name, func(l *instance, v Machine) error {
		dir := l.m.machineDir(l.name, v.Host, v.Name)
		before, err := l.adopt(v.Host, v.Name)
		if err != nil {
			return err
		}
		if !before.Supervisor.alive() || before.ended() {
			return errors.New("it does not run; `lab start` starts it")
		}
		if how == Gracefully {
			if err = askAgent(ctx, dir, qemu.Reboot); err != nil {
				err = fmt.Errorf("%w; reset it with --force", err)
			}
		} else {
			err = execute(ctx, dir, "system_reset")
		}
		if err != nil {
			return err
		}
		_, err = awaitMachine(ctx, dir, before.Supervisor, func(s machineState) bool { return s.Resets > before.Resets })
		return err
	})
}

// editMachine changes a machine of a running lab under the lab's lock.
func (m *Manager) editMachine(ctx context.Context, lab, verb, name string, f func(*instance, Machine) error) error {
	return m.edit(ctx, lab, verb+" guest "+name, func(l *instance) error {
		if err := l.settleMachines(ctx); err != nil {
			return err
		}
		v, ok := l.st.Spec.machine(name)
		if !ok {
			return l.st.Spec.noMachine(name)
		}
		return f(l, v)
	})
}

func (s Spec) noMachine(name string) error {
	var names []string
	for _, v := range s.Machines {
		names = append(names, v.Name)
	}
	if len(names) == 0 {
		return errors.New("the lab has no virtual machine")
	}
	return fmt.Errorf("the lab has no guest %q; it has %s", name, strings.Join(names, ", "))
}

// Console connects to the serial console of a machine. One client has it at a
// time, and what was said before is in the file log.
func (m *Manager) Console(ctx context.Context, lab, name string) (conn net.Conn, log string, err error) {
	spec, err := m.Spec(lab)
	if err != nil {
		return nil, "", err
	}
	v, ok := spec.machine(name)
	if !ok {
		return nil, "", fmt.Errorf("lab %s: %w", lab, spec.noMachine(name))
	}
	dir := m.machineDir(lab, v.Host, name)
	log = filepath.Join(dir, qemu.ConsoleLog)
	conn, err = qemu.DialConsole(ctx, dir)
	switch {
	case errors.Is(err, qemu.ErrConsoleBusy):
		err = fmt.Errorf("lab %s: console of %s: %w; end that one, or read along with `lab console %[2]s --log`", lab, name, err)
	case err != nil:
		err = fmt.Errorf("lab %s: console of %s: %w; it does not run, see `lab status`", lab, name, err)
	}
	return conn, log, err
}
