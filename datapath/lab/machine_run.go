package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

const (
	// qemuTimeout is how long qemu may take until it answers.
	qemuTimeout = 30 * time.Second
	// qemuEnd is how long qemu may take to end by SIGTERM. It is less than
	// stopTimeout, after which the supervisor itself is killed.
	qemuEnd = 2 * time.Second
	// consoleInterval is between two looks at the console's log.
	consoleInterval = 250 * time.Millisecond
	// maxConsole is how long the console's log may be, in bytes, before it is
	// begun again and the old one is kept beside it: a guest writes what it likes,
	// and the log may be in memory.
	maxConsole = 1 << 20
)

// RunMachine is the supervisor of one machine: the program that
// [UpOptions.Supervisor] names has to call it, with its last argument as dir. It
// makes the machine's taps, plugs them into the integration bridge, runs qemu with
// them, lets the links of the NICs follow the taps (down when the switch sets a
// port down), and writes down how far the machine is, until qemu ends or ctx is
// done; then the ports are taken out of the bridge again. Should this process be
// killed, the kernel kills qemu. Whoever starts it does so in the host's
// namespace, with the environment of its Open vSwitch.
func RunMachine(ctx context.Context, dir string) error {
	var plan machinePlan
	if err := readJSON(filepath.Join(dir, planFile), &plan); err != nil {
		return fmt.Errorf("run a guest: %w", err)
	}
	me, err := identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("guest %s: %w", plan.Machine.Name, err)
	}
	ns, err := netdev.CurrentNamespace()
	if err != nil {
		return fmt.Errorf("guest %s: %w", plan.Machine.Name, err)
	}
	defer ns.Close()
	s := &supervisor{dir: dir, plan: plan, ns: ns, state: machineState{Phase: MachineStarting, Supervisor: me}}
	if err := s.save(); err != nil {
		return fmt.Errorf("guest %s: %w", plan.Machine.Name, err)
	}
	err = s.run(ctx)
	s.state.Phase = MachineStopped
	if err != nil {
		s.state.Phase, s.state.Why = MachineFailed, err.Error()
		err = fmt.Errorf("guest %s: %w", plan.Machine.Name, err)
	}
	return errors.Join(err, s.save())
}

// supervisor is one run of RunMachine. One goroutine owns it.
type supervisor struct {
	dir   string
	plan  machinePlan
	ns    *netdev.Namespace
	state machineState

	qmp     *qemu.QMP
	links   []bool    // as qemu was told, by NIC
	left    bootState // how far the guest was that has migrated from here
	signs   chan sign
	watched context.CancelFunc // ends the look at the taps
}

func (s *supervisor) save() error { return writeJSON(filepath.Join(s.dir, stateFile), s.state) }

func (s *supervisor) run(ctx context.Context) (err error) {
	taps, err := s.openTaps()
	defer func() {
		for _, tap := range taps {
			tap.Close()
		}
	}()
	if err != nil {
		return err
	}
	// Before the machine sends its first frame.
	watch, err := watchTaps(s.ns, s.plan.Machine.Machine)
	if err != nil {
		return err
	}
	defer watch.Close()
	changes, err := s.ns.WatchLinks()
	if err != nil {
		return err
	}
	defer changes.Close()
	defer func() { err = errors.Join(err, s.unplug(ctx)) }()
	if err := s.plug(ctx); err != nil {
		return err
	}
	s.state.Plugged = time.Now()
	child, err := s.start(taps)
	if err != nil {
		return err
	}
	for _, tap := range taps {
		tap.Close() // qemu's copies alone keep them
	}
	taps = nil
	return s.supervise(ctx, child, watch, changes)
}

// supervise follows the machine until qemu has ended.
func (s *supervisor) supervise(ctx context.Context, child *child, watch *tapWatch, changes *netdev.LinkWatch) (err error) {
	lctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.signs = make(chan sign, 2)
	ended := make(chan struct{}) // of the looks: none is left behind
	defer func() {
		cancel()
		// What ended otherwise has gone by itself.
		err = errors.Join(err, child.end())
		<-ended
		if s.qmp != nil {
			s.qmp.Close()
		}
	}()
	moved := make(chan struct{}, 1)
	go func() {
		defer close(ended)
		for changes.Wait(lctx) == nil {
			select {
			case moved <- struct{}{}:
			default:
			}
		}
	}()
	if err := s.connect(lctx, child); err != nil {
		return err
	}
	if err := s.followLinks(lctx); err != nil {
		return err
	}
	s.look(lctx, watch)
	defer func() { s.watched() }()
	if err := s.save(); err != nil {
		return err
	}
	tick := time.NewTicker(consoleInterval)
	defer tick.Stop()
	events := s.qmp.Events()
	// A session or a tap that is gone is most likely so because qemu is, whose end
	// says more. Only if that does not come is the first trouble reported.
	var (
		overdue <-chan time.Time
		trouble error
	)
	doubt := func(err error) {
		if err != nil && trouble == nil {
			trouble, overdue = err, time.After(qemuEnd)
		}
	}
	for {
		select {
		case <-ctx.Done():
			s.state.Why = "its supervisor was told to end"
			return nil
		case <-child.ended:
			return s.verdict(child, events)
		case e, ok := <-events:
			if !ok {
				events = nil
				doubt(errors.New("qemu's monitor has gone, and qemu has not"))
				continue
			}
			if s.event(e) {
				s.watched()
				again, err := watchTaps(s.ns, s.plan.Machine.Machine)
				if err == nil {
					s.look(lctx, again)
				}
				doubt(err)
			}
		case <-moved:
			doubt(s.followLinks(lctx))
		case <-overdue:
			return trouble
		case sg := <-s.signs:
			s.sign(sg)
		case <-tick.C:
			if !s.console() {
				continue
			}
		}
		if err := s.save(); err != nil {
			return err
		}
	}
}

// openTaps makes the taps of the NICs, in their order.
func (s *supervisor) openTaps() (taps []*os.File, err error) {
	for _, n := range s.plan.Machine.NICs {
		tap, err := s.ns.OpenTap(n.Tap)
		if err != nil {
			return taps, err
		}
		taps = append(taps, tap)
		if _, err := s.ns.Configure(n.Tap, netdev.LinkConfig{MTU: n.MTU, ARP: netdev.Down, IPv6: netdev.IPv6Off, State: netdev.Up}); err != nil {
			return taps, err
		}
	}
	return taps, nil
}

// plug adds the taps to the integration bridge, each with its iface-id in the same
// transaction, as libvirt does.
func (s *supervisor) plug(ctx context.Context) error {
	v := s.plan.Machine
	args := []string{"ovs-vsctl", "--timeout=20"}
	for _, n := range v.NICs {
		args = append(args,
			"--", "--may-exist", "add-port", IntegrationBridge, n.Tap,
			"--", "set", "interface", n.Tap, "external_ids:iface-id="+quote(n.Port),
			"external_ids:attached-mac="+quote(n.MAC.String()), "external_ids:vm-id="+quote(v.UUID.String()))
	}
	if len(v.NICs) == 0 {
		return nil
	}
	_, complaint, err := run(ctx, s.ns, nil, args...)
	if err == nil && strings.Contains(complaint, "Error detected while setting up") {
		err = errors.New(lastLines(complaint))
	}
	if err != nil {
		return fmt.Errorf("plug its ports: %w", err)
	}
	return nil
}

// unplug takes the ports out of the bridge, also when ctx is done. It does not
// wait for ovs-vswitchd, which may be gone already.
func (s *supervisor) unplug(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), qemuEnd)
	defer cancel()
	args := []string{"ovs-vsctl", "--timeout=1", "--no-wait"}
	for _, n := range s.plan.Machine.NICs {
		args = append(args, "--", "--if-exists", "del-port", IntegrationBridge, n.Tap)
	}
	if len(s.plan.Machine.NICs) == 0 {
		return nil
	}
	if _, _, err := run(ctx, s.ns, nil, args...); err != nil {
		return fmt.Errorf("take its ports out of %s: %w", IntegrationBridge, err)
	}
	return nil
}

// start starts qemu with the taps.
func (s *supervisor) start(taps []*os.File) (*child, error) {
	fds := make([]int, len(taps))
	for i := range fds {
		fds[i] = 3 + i // what os/exec makes of ExtraFiles
	}
	argv, err := qemu.Command(s.plan.Machine.Machine, qemu.Options{Accel: s.plan.Accel, TapFDs: fds, Incoming: s.plan.Incoming})
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(s.dir, qemuLog))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return startChild(childSpec{argv: argv, dir: s.dir, files: taps, log: log})
}

// connect opens the session with qemu as soon as it listens.
func (s *supervisor) connect(ctx context.Context, child *child) error {
	p, err := identify(child.pid())
	if err != nil {
		return fmt.Errorf("qemu ended at once%s", logTail(filepath.Join(s.dir, qemuLog)))
	}
	s.state.QEMU = p
	ctx, cancel := context.WithTimeout(ctx, qemuTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.qmp, err = qemu.DialQMP(ctx, s.dir, qemu.SupervisorSocket); err == nil {
			break
		}
		select {
		case <-child.ended:
			return fmt.Errorf("qemu ended at once%s", logTail(filepath.Join(s.dir, qemuLog)))
		case <-ctx.Done():
			return fmt.Errorf("qemu does not answer: %w%s", err, logTail(filepath.Join(s.dir, qemuLog)))
		case <-tick.C:
		}
	}
	var vnc struct{ Host, Service string }
	if err := s.qmp.Execute(ctx, "query-vnc", nil, &vnc); err != nil {
		return err
	}
	s.state.VNC = vnc.Host + ":" + vnc.Service
	s.state.Phase, s.state.Started = MachineBooting, time.Now()
	if s.plan.Incoming {
		s.state.Phase = MachineIncoming
	}
	return nil
}

// look looks for the machine's signs by watch, which it closes in the end: what
// nobody reads any more would wait there, and be taken for news after a reset.
func (s *supervisor) look(ctx context.Context, watch *tapWatch) {
	ctx, cancel := context.WithCancel(ctx)
	done, signs := make(chan struct{}), make(chan sign, 2)
	s.signs = signs
	s.watched = func() { cancel(); <-done }
	go func() {
		defer close(done)
		watch.run(ctx, func(sg sign) { signs <- sg }) // it holds all there are
		watch.Close()
	}()
}

// event takes an event of qemu's and reports whether the machine begins anew.
func (s *supervisor) event(e qemu.Event) (again bool) {
	var d struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		Status string `json:"status"`
	}
	// An event without data is one with none of these.
	_ = json.Unmarshal(e.Data, &d)
	switch e.Name {
	case "SHUTDOWN":
		s.state.Why = "switched off (" + d.Reason + ")"
	case "GUEST_PANICKED":
		s.state.Why = "its kernel panicked"
	case "RESET":
		s.state.Resets++
		s.state.Phase, s.state.Started = MachineBooting, time.Now()
		s.state.Console, s.state.Frame, s.state.Ready = time.Time{}, time.Time{}, time.Time{}
		return true
	case "RESUME":
		switch s.state.Phase {
		case MachineIncoming:
			// Another begins to look anew: what was on the tap before is not the guest's.
			s.state.resume(s.plan.Before)
			return s.state.Phase == MachineBooting
		case MachineMoved:
			// The other side came to nothing.
			s.state.resume(s.left)
		}
	case "MIGRATION":
		if d.Status == "completed" && s.state.executes() {
			s.left, s.state.Phase = s.state.boot(), MachineMoved
		}
	}
	return false
}

func (s *supervisor) sign(sg sign) {
	switch sg {
	case signFrame:
		s.state.Frame = time.Now()
	case signReady:
		if s.state.Phase == MachineBooting {
			s.state.Phase, s.state.Ready = MachineReady, time.Now()
		}
	}
}

// followLinks makes each NIC's link as its tap's flag is: a switch that sets a
// port down (OFPPC_PORT_DOWN) sets the device down, and the guest sees its carrier go.
func (s *supervisor) followLinks(ctx context.Context) error {
	if s.links == nil {
		s.links = make([]bool, len(s.plan.Machine.NICs))
		for i := range s.links {
			s.links[i] = true // as qemu starts
		}
	}
	for i, n := range s.plan.Machine.NICs {
		link, err := s.ns.Link(n.Tap)
		if errors.Is(err, netdev.ErrNoLink) {
			continue // qemu is about to end
		}
		if err != nil {
			return err
		}
		if link.Up == s.links[i] {
			continue
		}
		if err := s.qmp.Execute(ctx, "set_link", map[string]any{"name": qemu.NICID(i), "up": link.Up}, nil); err != nil {
			return err
		}
		s.links[i] = link.Up
	}
	return nil
}

// console looks at the console's log, and reports whether the state has changed.
func (s *supervisor) console() bool {
	path := filepath.Join(s.dir, qemu.ConsoleLog)
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 {
		return false
	}
	if info.Size() > maxConsole {
		// qemu appends, so it goes on in the file that is cut. What is written
		// between the two steps is lost, as all of the log would be in the end.
		if b, err := os.ReadFile(path); err == nil && os.WriteFile(path+".old", b, 0o600) == nil {
			_ = os.Truncate(path, 0)
		}
	}
	if !s.state.Console.IsZero() || !info.ModTime().After(s.state.Started) {
		return false
	}
	s.state.Console = info.ModTime()
	return true
}

// verdict is what to make of qemu's end.
func (s *supervisor) verdict(child *child, events <-chan qemu.Event) error {
	// It says why just before it goes.
	if events != nil {
		for e := range events {
			s.event(e)
		}
	}
	if child.err == nil {
		if s.state.Why == "" {
			s.state.Why = "switched off"
		}
		return nil
	}
	return fmt.Errorf("qemu ended: %w%s", child.err, logTail(filepath.Join(s.dir, qemuLog)))
}

// end ends qemu.
func (c *child) end() error {
	select {
	case <-c.ended:
		return nil
	default:
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(qemuEnd)
	defer timer.Stop()
	select {
	case <-c.ended:
		return nil
	case <-timer.C:
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.ended
	return nil
}
