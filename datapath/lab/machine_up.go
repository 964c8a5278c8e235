package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// accel is the accelerator of a lab's machines, and what there is to say about it.
type accel struct {
	Name qemu.Accel `json:"name"`
	Note string     `json:"note,omitempty"`
}

// checkMachineHost reports why the spec's machines cannot run on this machine,
// before anything is made of the lab.
func (l *instance) checkMachineHost(ctx context.Context, spec Spec, o UpOptions) error {
	if len(spec.Machines) == 0 {
		return nil
	}
	errs := []error{qemu.Prerequisites()}
	if o.Supervisor == nil {
		errs = append(errs, errors.New("virtual machines need UpOptions.Supervisor"))
	}
	if o.Accel == qemu.KVM && errs[0] == nil {
		if err := qemu.CheckKVM(ctx); err != nil {
			errs = append(errs, fmt.Errorf("guests cannot run under KVM: %w; leave the choice to the lab, with --accel auto", err))
		}
	}
	need := 0 // MiB
	for _, v := range spec.Machines {
		s, err := readMachineState(l.m.machineDir(l.name, v.Host, v.Name))
		if err == nil && s.Supervisor.alive() {
			continue // it has its memory
		}
		need += v.Memory
		errs = append(errs, qemu.CheckFiles(v.Machine))
	}
	// What the kernel does not say is no reason to refuse.
	if free, err := availableMemory(); err == nil && need > free {
		errs = append(errs, fmt.Errorf("the guests need %d MiB of memory and %d MiB are available; give them less (memory: in the topology file), or take other labs down", need, free))
	}
	return errors.Join(errs...)
}

// availableMemory is what new programs can have without swapping, in MiB
// (MemAvailable in proc(5), meminfo).
func availableMemory() (int, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) >= 2 && fields[0] == "MemAvailable:" {
			kib, err := strconv.Atoi(fields[1])
			return kib / 1024, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}

// accelerator is what the lab's machines run on, found once for each lab.
func (l *instance) accelerator(ctx context.Context) (qemu.Accel, error) {
	l.accelMu.Lock()
	defer l.accelMu.Unlock()
	l.mu.Lock()
	known := l.st.Accel
	l.mu.Unlock()
	if known.Name != "" {
		return known.Name, nil
	}
	found, note, err := qemu.FindAccel(ctx)
	if err != nil {
		return "", err
	}
	l.step("%s", strings.TrimSpace("guests run with "+string(found)+" "+parenthesis(note)))
	return found, l.update(func(st *state) { st.Accel = accel{Name: found, Note: note} })
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// MachineProgress is how far a machine is that is waited for.
type MachineProgress struct {
	Name, Host string
	Phase      MachinePhase
	// Step is what it was last seen to do, in words, of Steps the Done-th.
	Step        string
	Done, Steps int
	// Console is the last line on its console.
	Console string
}

// machineSteps is how many steps there are to a machine that is ready.
const machineSteps = 4

// progress is how far the machine is.
func (s machineState) progress(v Machine) MachineProgress {
	p := MachineProgress{Name: v.Name, Host: v.Host, Phase: s.Phase, Steps: machineSteps, Step: "not running"}
	for _, step := range []struct {
		at   time.Time
		what string
	}{
		{s.Started, "switched on"},
		{s.Console, "its console speaks"},
		{s.Frame, "sent a frame"},
	} {
		if !step.at.IsZero() {
			p.Done++
			p.Step = step.what
		}
	}
	if s.Phase == MachineReady {
		p.Done, p.Step = machineSteps, readyWords(v.Machine)
	}
	return p
}

// readyWords is the machine's sign of readiness, as what it does.
func readyWords(m guest.Machine) string {
	switch {
	case m.Ready == guest.ReadyLLDP:
		return "sends LLDP"
	case m.Ready == guest.ReadyAddress && hasAddresses(m):
		var addrs []string
		for _, n := range m.NICs {
			for _, a := range n.Addresses {
				addrs = append(addrs, a.String())
			}
		}
		return "answers for " + strings.Join(addrs, " or ")
	}
	return "sends frames"
}

// AwaitMachines waits until the machines of these names are ready, all of the
// lab's that were not stopped if there are none: each by the sign on the network
// that its [guest.Machine] has. tell, if not nil, is told whenever one is further,
// one at a time. When ctx is done the error says how far each is, and the end of
// its console.
func (m *Manager) AwaitMachines(ctx context.Context, lab string, names []string, tell func(MachineProgress)) error {
	st, err := m.load(lab)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, v := range st.Spec.Machines {
			if !slices.Contains(st.Halted, v.Name) {
				names = append(names, v.Name)
			}
		}
	}
	var (
		group errgroup.Group
		mu    sync.Mutex
		errs  = make([]error, len(names))
	)
	for i, name := range names {
		v, ok := st.Spec.machine(name)
		if !ok {
			return fmt.Errorf("lab %s: %w", lab, st.Spec.noMachine(name))
		}
		group.Go(func() error {
			errs[i] = m.awaitReady(ctx, lab, v, func(p MachineProgress) {
				mu.Lock()
				defer mu.Unlock()
				if tell != nil {
					tell(p)
				}
			})
			return nil
		})
	}
	return errors.Join(group.Wait(), errors.Join(errs...))
}

// awaitReady waits until the machine is ready, on whichever host it is by then.
func (m *Manager) awaitReady(ctx context.Context, lab string, v Machine, tell func(MachineProgress)) error {
	for {
		err := m.awaitReadyOn(ctx, lab, v, tell)
		if err == nil || ctx.Err() != nil {
			return err
		}
		st, serr := m.load(lab)
		now, ok := st.Spec.machine(v.Name)
		if serr != nil || !ok || now.Host == v.Host {
			return err
		}
		v = now // it has migrated meanwhile
	}
}

func (m *Manager) awaitReadyOn(ctx context.Context, lab string, v Machine, tell func(MachineProgress)) error {
	dir := m.machineDir(lab, v.Host, v.Name)
	first, err := readMachineState(dir)
	if err == nil {
		var told MachineProgress
		_, err = awaitMachine(ctx, dir, first.Supervisor, func(s machineState) bool {
			p := s.progress(v)
			if end := consoleEnd(dir, 1); len(end) > 0 {
				p.Console = end[0]
			}
			if p != told {
				told = p
				tell(p)
			}
			return s.Phase == MachineReady
		})
	}
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		return fmt.Errorf("guest %s on %s: %w%s", v.Name, v.Host, err, consoleWords(dir))
	}
	s, _ := readMachineState(dir) // what can be read of it
	return fmt.Errorf("guest %s on %s is not ready: %s, and not yet: %s: %w%s", v.Name, v.Host,
		s.progress(v).Step, readyWords(v.Machine), ctx.Err(), consoleWords(dir))
}

// consoleWords is the end of the console, for an error.
func consoleWords(dir string) string {
	log := filepath.Join(dir, qemu.ConsoleLog)
	lines := consoleEnd(dir, 6)
	if len(lines) == 0 {
		return "; its console has said nothing"
	}
	return "; " + log + " ends with:\n  " + strings.Join(lines, "\n  ")
}
