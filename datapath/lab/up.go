package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// cleanUpTimeout bounds taking down a lab that failed to come up.
const cleanUpTimeout = 20 * time.Second

// JoinInfo is what a host's join command depends on.
type JoinInfo struct {
	Host     Host
	Datapath string // "system" or "netdev", as the host uses it
	// Controller is the address of the controller on the management network.
	Controller netip.Addr
}

// FailureMode says what becomes of a lab that fails to come up.
type FailureMode uint8

// The failure modes. A lab that was there before is kept in either.
const (
	CleanUp FailureMode = iota // nothing is left of it
	Keep                       // it is left as it is, for a look; Up goes on from there
)

// UpOptions is what Up needs besides the spec.
type UpOptions struct {
	// Controller returns the command of the controller, which is started in the
	// lab's own namespace unless it runs. Nil starts none.
	Controller func(ControllerInfo) (Command, error)
	// Join returns the shell text that joins a host to the controller, which then
	// has to create br-int. It must be repeatable. Nil makes Up create br-int
	// itself, with fail_mode=secure and no flows.
	Join func(JoinInfo) (string, error)
	// Supervisor is the command that runs [RunMachine] with one more argument, its
	// dir. Machines need it.
	Supervisor *Command
	// Accel is what machines run on; empty is KVM where it works, else TCG.
	Accel qemu.Accel
	// OnFailure is for a lab that was not there before.
	OnFailure FailureMode
	// Progress, if not nil, is told each step in a few words. It may be called by
	// several goroutines at once.
	Progress func(step string)
}

// Up makes the lab what spec says. Run again it completes what is missing,
// restarts what has died, and on another spec removes what is no longer in it;
// what is right stays untouched. It returns when all hosts are joined, all ports
// plugged, and packets cross the underlay. If it fails, or ctx is done, a lab
// that was not there before is taken down again, see [UpOptions.OnFailure].
func (m *Manager) Up(ctx context.Context, spec Spec, o UpOptions) error {
	if err := spec.Check(); err != nil {
		return err
	}
	if err := Prerequisites(); err != nil {
		return fmt.Errorf("lab %s: %w", spec.Name, err)
	}
	l, err := m.lock(ctx, spec.Name)
	if err != nil {
		return err
	}
	defer l.unlock()
	l.st, err = m.load(spec.Name)
	fresh := errors.Is(err, ErrNoLab)
	if err != nil && !fresh {
		return err
	}
	kept, _ := l.st.keepMoved(spec)
	if err := l.checkMachineHost(ctx, kept, o); err != nil {
		return fmt.Errorf("lab %s: %w", spec.Name, err)
	}
	if fresh {
		if err := l.claim(spec); err != nil {
			return err
		}
	}
	if err = l.up(ctx, spec, o); err == nil {
		return nil
	}
	err = fmt.Errorf("lab %s: %w", spec.Name, err)
	if !fresh || o.OnFailure == Keep {
		return fmt.Errorf("%w (what is there is kept: run `lab up` again to go on, or `lab down`)", err)
	}
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if derr := l.down(cctx); derr != nil {
		return fmt.Errorf("%w; and cleaning up failed too: %w; run `lab down`", err, derr)
	}
	return err
}

// claim makes sure that a new lab's namespaces are nobody else's.
func (l *instance) claim(spec Spec) error {
	have, err := netdev.Namespaces()
	if err != nil {
		return err
	}
	for _, n := range have {
		if strings.HasPrefix(n, spec.Name+".") {
			return fmt.Errorf("lab %s: the namespace %s exists and is not the lab's; give the lab another name, or delete it with `ip netns delete %s`", spec.Name, n, n)
		}
	}
	return nil
}

func (l *instance) up(ctx context.Context, spec Spec, o UpOptions) error {
	l.tell = o.Progress
	step := l.step
	if err := l.settleMachines(ctx); err != nil {
		return err
	}
	_ = l.takeBack(ctx) // as in edit
	spec, moved := l.st.keepMoved(spec)
	for _, name := range slices.Sorted(maps.Keys(moved)) {
		v, _ := spec.machine(name)
		step("guest %s stays on %s, to which it has migrated from %s; `lab migrate %s %s` moves it back", name, v.Host, moved[name], name, moved[name])
	}
	l.mu.Lock()
	l.st.Moved = moved // written down with the spec
	l.mu.Unlock()
	if err := l.plan(ctx, spec); err != nil {
		return err
	}
	if err := l.pruneMachines(ctx); err != nil {
		return err
	}
	if err := l.prune(ctx); err != nil {
		return err
	}
	if err := l.update(func(st *state) {
		st.Supervisor = o.Supervisor
		if o.Accel != "" {
			st.Accel = accel{Name: o.Accel}
		}
	}); err != nil {
		return err
	}
	if err := l.tryOffloads(ctx); err != nil {
		return err
	}
	step("namespaces and bridges of %s", spec.Name)
	if err := l.ensureInfrastructure(); err != nil {
		return err
	}
	joinable := make(chan struct{}) // closed when the controller listens
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(joinable)
		if o.Controller == nil {
			return nil
		}
		step("controller")
		return l.ensureController(gctx, o.Controller)
	})
	for _, h := range spec.Hosts {
		group.Go(func() error {
			step("host %s: links and daemons", h.Name)
			if err := l.ensureHost(gctx, h); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			mine := l.attachmentsOf(h.Name)
			if err := l.wireGuests(gctx, mine); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			select {
			case <-joinable:
			case <-gctx.Done():
			}
			if err := gctx.Err(); err != nil {
				return err
			}
			step("host %s: join, %d ports", h.Name, len(mine))
			if err := l.join(gctx, h, o.Join); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			if err := l.plug(gctx, h.Name, mine, PlugOptions{}); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			if n := len(spec.machinesOf(h.Name)); n > 0 {
				step("host %s: %d guests", h.Name, n)
			}
			if err := l.ensureMachines(gctx, h.Name); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // rather than what it made the programs say
		}
		return err
	}
	step("underlay between %d hosts", len(spec.Hosts))
	group, gctx = errgroup.WithContext(ctx)
	for _, h := range spec.Hosts {
		group.Go(func() error {
			if err := l.warm(gctx, h); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := l.probeUnderlay(ctx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // where nothing of the above had to wait
	}
	// No leave outlives that the hosts have joined anew: whoever has them join declares their ports.
	return l.update(func(st *state) { st.Phase, st.Unplugged, st.Permitted = PhaseUp, nil, nil })
}

// step tells of a step, to whoever wants to know.
func (l *instance) step(format string, args ...any) {
	if l.tell != nil {
		l.tell(fmt.Sprintf(format, args...))
	}
}

func (l *instance) attachmentsOf(host string) []Attachment {
	var mine []Attachment
	for _, a := range l.st.Spec.Attachments {
		if a.Host == host {
			mine = append(mine, a)
		}
	}
	return mine
}

// plan unplugs what the new spec no longer has in the same place, and writes down
// the new spec with all that will be created.
func (l *instance) plan(ctx context.Context, spec Spec) error {
	for _, old := range l.st.Spec.Attachments {
		now, stays := spec.attachment(old.Port)
		if stays && sameWire(old, now) {
			continue
		}
		// The host may be half there or gone, after an interruption: then there is
		// nothing to unplug it from.
		ns, err := netdev.OpenNamespace(hostNamespace(l.name, old.Host))
		if err != nil {
			continue
		}
		ns.Close()
		l.mu.Lock()
		daemon := l.st.Processes[old.Host+"/ovsdb-server"]
		l.mu.Unlock()
		if !daemon.alive() {
			continue
		}
		if err := l.unplug(ctx, old); err != nil {
			return fmt.Errorf("unplug %s: %w", old.Port, err)
		}
	}
	management := l.st.Management
	if !management.IsValid() || overlapsAny(management, spec) {
		m, err := spec.managementSubnet()
		if err != nil {
			return err
		}
		management = m
	}
	addresses, err := managementAddresses(management, spec.Hosts, l.st.Addresses)
	if err != nil {
		return err
	}
	detected := detectDatapath()
	for _, h := range spec.Hosts {
		if h.Datapath == datapathSystem && detected != datapathSystem {
			return fmt.Errorf("host %s: datapath %q: this kernel has no openvswitch module; leave the datapath out, or write %q", h.Name, h.Datapath, datapathNetdev)
		}
	}
	return l.update(func(st *state) {
		st.Version, st.Phase, st.Spec = stateVersion, PhaseStarting, spec
		st.Namespaces = union(st.Namespaces, spec.namespaces())
		st.Management, st.Addresses = management, addresses
		st.Datapaths = map[string]string{}
		for _, h := range spec.Hosts {
			st.Datapaths[h.Name] = detected
			if h.Datapath != "" {
				st.Datapaths[h.Name] = h.Datapath
			}
		}
		if st.Processes == nil {
			st.Processes = map[string]process{}
		}
	})
}

// sameWire reports whether a's wire can stay for b.
func sameWire(a, b Attachment) bool {
	return a.Host == b.Host && a.netns() == b.netns() && a.guestInterface() == b.guestInterface() &&
		slices.EqualFunc(a.VLANs, b.VLANs, func(x, y VLAN) bool { return x.ID == y.ID })
}

func overlapsAny(management netip.Prefix, spec Spec) bool {
	return slices.ContainsFunc(spec.Underlay.Subnets, management.Overlaps)
}

// managementAddresses gives each host an address; those that have one keep it.
// The subnet's first address is the controller's.
func managementAddresses(subnet netip.Prefix, hosts []Host, have map[string]netip.Addr) (map[string]netip.Addr, error) {
	given, taken := map[string]netip.Addr{}, map[netip.Addr]bool{}
	for _, h := range hosts {
		if a, ok := have[h.Name]; ok && subnet.Contains(a) {
			given[h.Name], taken[a] = a, true
		}
	}
	next := subnet.Addr().Next()
	for _, h := range hosts {
		if _, ok := given[h.Name]; ok {
			continue
		}
		for next = next.Next(); taken[next]; next = next.Next() {
		}
		if !subnet.Contains(next) {
			return nil, fmt.Errorf("%d hosts do not fit into the management network %s", len(hosts), subnet)
		}
		given[h.Name] = next
	}
	return given, nil
}

// prune removes the namespaces, processes and files of what is no longer in the
// spec.
func (l *instance) prune(ctx context.Context) error {
	want := l.st.Spec.namespaces()
	var obsolete []string
	for _, n := range l.st.Namespaces {
		if !slices.Contains(want, n) {
			obsolete = append(obsolete, n)
		}
	}
	if len(obsolete) == 0 {
		return nil
	}
	if err := removeNamespaces(ctx, obsolete); err != nil {
		return err
	}
	infra, err := netdev.OpenNamespace(hostNamespace(l.name, infrastructure))
	if err == nil {
		defer infra.Close()
	}
	for _, n := range obsolete {
		// A host's or a guest's: the one directory that exists goes. The ends of
		// its links would go with it, only later than a new one may need the names.
		name := strings.TrimPrefix(n, l.name+".")
		if err := errors.Join(os.RemoveAll(l.m.hostDir(l.name, name)), os.RemoveAll(l.m.guestDir(l.name, name))); err != nil {
			return err
		}
		if infra == nil {
			continue
		}
		for _, dev := range []string{uplinkPeer(name), managementPeer(name)} {
			if _, err := infra.DeleteLink(dev); err != nil {
				return err
			}
		}
	}
	return l.update(func(st *state) {
		st.Namespaces = slices.DeleteFunc(st.Namespaces, func(n string) bool { return slices.Contains(obsolete, n) })
		for key, p := range st.Processes {
			if !p.alive() {
				delete(st.Processes, key)
			}
		}
	})
}

// join joins a host to the controller and waits for br-int, or creates it.
func (l *instance) join(ctx context.Context, h Host, join func(JoinInfo) (string, error)) error {
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, h.Name))
	if err != nil {
		return err
	}
	defer ns.Close()
	sw := l.switchOf(h.Name, ns)
	if join == nil {
		_, err := sw.vsctl(ctx, "--", "--may-exist", "add-br", IntegrationBridge,
			"--", "set", "bridge", IntegrationBridge, "datapath_type="+sw.datapath, "fail_mode=secure")
		return err
	}
	text, err := join(JoinInfo{Host: h, Datapath: sw.datapath, Controller: l.controllerAddr()})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if _, _, err := run(ctx, ns, ovsEnv(sw.dir), "/bin/sh", "-e", "-c", text); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if _, err := sw.vsctl(ctx, "wait-until", "bridge", IntegrationBridge); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("joined, but the controller has not created %s: %w%s", IntegrationBridge, err, logTail(l.controllerLog()))
	}
	return nil
}
