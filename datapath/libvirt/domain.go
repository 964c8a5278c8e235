package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// State is that of a domain, in virsh's words.
type State string

// The states that are acted upon.
const (
	Running State = "running"
	Paused  State = "paused"
	ShutOff State = "shut off"
	Crashed State = "crashed"
)

// states are libvirt's virDomainState, by number.
var states = [...]State{"no state", Running, "idle", Paused, "in shutdown", ShutOff, Crashed, "suspended"}

// stateOf is the word for a number that the daemon has sent.
func stateOf(n int32) State {
	if n < 0 || int(n) >= len(states) {
		return State(fmt.Sprintf("state %d", n))
	}
	return states[n]
}

// On reports whether there is a virtual machine.
func (s State) On() bool { return s != ShutOff && s != Crashed }

// Domain is a domain as libvirt has it.
type Domain struct {
	Name       string      `json:"name"`
	UUID       uuid.UUID   `json:"uuid"`
	State      State       `json:"state"`
	Virt       string      `json:"virt"` // kvm, or qemu for emulation (TCG)
	Interfaces []Interface `json:"interfaces,omitempty"`
}

// Interface is a network card of a domain.
type Interface struct {
	MAC string `json:"mac"`
	// Tap is the device on the host; there is one while the domain is on.
	Tap    string `json:"tap,omitempty"`
	Model  string `json:"model,omitempty"`
	Source string `json:"source,omitempty"` // the libvirt network, else the bridge
	// IfaceID is what libvirt writes into external_ids:iface-id. Empty means that it
	// is not an Open vSwitch virtualport, or one with a random ID at each start.
	IfaceID string `json:"iface_id,omitempty"`
}

// Domains are all domains, by name.
func (c *Conn) Domains(ctx context.Context) ([]Domain, error) {
	found, err := ask(ctx, c, "list domains", func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		ds, _, err := l.ConnectListAllDomains(1, 0)
		return ds, err
	})
	if err != nil {
		return nil, err
	}
	out := make([]Domain, 0, len(found))
	for _, f := range found {
		d, err := c.describe(ctx, f)
		if errors.Is(err, ErrNoDomain) { // undefined meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Domain) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Domain is one domain; the error is ErrNoDomain if there is none of that name.
func (c *Conn) Domain(ctx context.Context, name string) (Domain, error) {
	d, err := c.lookup(ctx, name)
	if err != nil {
		return Domain{}, err
	}
	return c.describe(ctx, d)
}

func (c *Conn) describe(ctx context.Context, d golibvirt.Domain) (Domain, error) {
	state, err := c.state(ctx, d)
	if err != nil {
		return Domain{}, err
	}
	document, err := c.xml(ctx, d, 0)
	if err != nil {
		return Domain{}, err
	}
	x, err := parse[domainXML](document)
	if err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", d.Name, err)
	}
	out := Domain{Name: d.Name, UUID: uuid.UUID(d.UUID), State: state, Virt: x.Type}
	for _, i := range x.Interfaces {
		nic := Interface{MAC: i.MAC.Address, Model: i.Model.Type, Source: cmp.Or(i.Source.Network, i.Source.Bridge)}
		if i.Port.Type == "openvswitch" {
			nic.IfaceID = i.Port.Parameters.InterfaceID
		}
		if state.On() { // a name that is configured is not a device
			nic.Tap = i.Target.Dev
		}
		out.Interfaces = append(out.Interfaces, nic)
	}
	return out, nil
}

func (c *Conn) lookup(ctx context.Context, name string) (golibvirt.Domain, error) {
	return ask(ctx, c, "look for domain "+name, func(l *golibvirt.Libvirt) (golibvirt.Domain, error) { return l.DomainLookupByName(name) })
}

// find is the domain of that name, and its state.
func (c *Conn) find(ctx context.Context, name string) (golibvirt.Domain, State, error) {
	d, err := c.lookup(ctx, name)
	if err != nil {
		return d, "", err
	}
	state, err := c.state(ctx, d)
	return d, state, err
}

func (c *Conn) state(ctx context.Context, d golibvirt.Domain) (State, error) {
	n, err := ask(ctx, c, "look at domain "+d.Name, func(l *golibvirt.Libvirt) (int32, error) {
		n, _, err := l.DomainGetState(d, 0)
		return n, err
	})
	return stateOf(n), err
}

func (c *Conn) xml(ctx context.Context, d golibvirt.Domain, flags golibvirt.DomainXMLFlags) (string, error) {
	return ask(ctx, c, "read domain "+d.Name, func(l *golibvirt.Libvirt) (string, error) { return l.DomainGetXMLDesc(d, flags) })
}

// DomainXML is a domain's document as its next start has it.
func (c *Conn) DomainXML(ctx context.Context, name string) (string, error) {
	d, err := c.lookup(ctx, name)
	if err != nil {
		return "", err
	}
	return c.xml(ctx, d, golibvirt.DomainXMLInactive)
}

// NetworkXMLs are the documents of those of the networks that there are, of all if none
// is named, in the order of their names.
func (c *Conn) NetworkXMLs(ctx context.Context, names ...string) ([]string, error) {
	found, err := ask(ctx, c, "list networks", func(l *golibvirt.Libvirt) ([]golibvirt.Network, error) {
		ns, _, err := l.ConnectListAllNetworks(1, 0)
		return ns, err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b golibvirt.Network) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]string, 0, len(found))
	for _, n := range found {
		if len(names) > 0 && !slices.Contains(names, n.Name) {
			continue
		}
		document, err := ask(ctx, c, "read network "+n.Name, func(l *golibvirt.Libvirt) (string, error) { return l.NetworkGetXMLDesc(n, 0) })
		if err != nil {
			return nil, err
		}
		out = append(out, document)
	}
	return out, nil
}

// Start starts a domain. One that runs is left as it is. The error is ErrNoKVM if the
// domain is for KVM and libvirt has none.
func (c *Conn) Start(ctx context.Context, name string) error {
	d, state, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	if state == Running {
		return nil
	}
	if state.On() {
		return fmt.Errorf("start domain %s: it is %s; `virsh resume %[1]s` lets it go on, or stop it first", name, state)
	}
	document, err := c.xml(ctx, d, golibvirt.DomainXMLInactive)
	if err != nil {
		return err
	}
	x, err := parse[domainXML](document)
	if err != nil {
		return err
	}
	if err := x.missingImages(); err != nil {
		return fmt.Errorf("start domain %s: an image is missing:\n%w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = tell(ctx, c, "start domain "+name, func(l *golibvirt.Libvirt) error { return l.DomainCreate(d) })
	return c.whetherKVM(ctx, x, err)
}

// virtKVM is the type of a domain that is for KVM.
const virtKVM = "kvm"

// whetherKVM says of the daemon's refusal of a domain whether it is because of KVM. The
// daemon's words may be in any language, so it is asked what it has.
func (c *Conn) whetherKVM(ctx context.Context, d domainXML, refusal error) error {
	if refusal == nil || d.Type != virtKVM {
		return refusal
	}
	document, err := ask(ctx, c, "look at what it can run", func(l *golibvirt.Libvirt) (string, error) { return l.ConnectGetCapabilities() })
	if err != nil {
		return refusal
	}
	able, err := parse[capabilitiesXML](document)
	if err != nil || slices.ContainsFunc(able.Domains, func(v virtXML) bool { return v.Type == virtKVM }) {
		return refusal
	}
	return fmt.Errorf("%w: %w", ErrNoKVM, refusal)
}

// Virt is what a domain runs on at its next start: kvm, or qemu for emulation.
func (c *Conn) Virt(ctx context.Context, name string) (string, error) {
	document, err := c.DomainXML(ctx, name)
	if err != nil {
		return "", err
	}
	x, err := parse[domainXML](document)
	return x.Type, err
}

// StopWay is what is done about a guest that does not power off when asked to.
type StopWay int

// The ways.
const (
	// AskOnly asks the guest to power off, and leaves it running if it does not.
	AskOnly StopWay = iota
	// AskThenDestroy takes its power away if it does not.
	AskThenDestroy
)

// askAgain is how often a guest is asked to power off: one that boots does not
// hear the first time.
const askAgain = 5 * time.Second

// Stop asks the guest to power off and waits up to grace for it; 0 does not ask.
// The error is ErrStillRuns if it then still runs and way is AskOnly. A domain
// that is off stays so.
func (c *Conn) Stop(ctx context.Context, name string, grace time.Duration, way StopWay) error {
	d, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	off, err := c.askOff(ctx, d, grace)
	switch {
	case err != nil || off:
		return err
	case way == AskOnly:
		return fmt.Errorf("stop domain %s: after %s %w; a guest that does not listen to the power button is stopped by force (--force)", name, grace, ErrStillRuns)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = tell(ctx, c, "destroy domain "+name, func(l *golibvirt.Libvirt) error { return l.DomainDestroy(d) })
	if err == nil {
		return nil
	}
	// It may have gone by itself meanwhile, and a transient one is gone altogether.
	if state, serr := c.state(ctx, d); errors.Is(serr, ErrNoDomain) || serr == nil && !state.On() {
		return nil
	}
	return err
}

// askOff asks for a power-off and reports whether the domain is off.
func (c *Conn) askOff(ctx context.Context, d golibvirt.Domain, grace time.Duration) (bool, error) {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var asked time.Time
	for {
		state, err := c.state(ctx, d)
		if errors.Is(err, ErrNoDomain) {
			return true, nil // a transient one
		}
		if err != nil || !state.On() {
			return err == nil, err
		}
		if grace > 0 && time.Since(asked) >= askAgain {
			asked = time.Now()
			// A refusal, as of one that is paused, is not the end: time is.
			_ = c.tell(ctx, "ask "+d.Name+" to power off", func(l *golibvirt.Libvirt) error { return l.DomainShutdownFlags(d, 0) })
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// Forgetting is what goes when a domain is undefined. Its images stay.
type Forgetting int

// What goes.
const (
	// DefinitionOnly fails, with an error that is ErrHasState, for a domain that has more.
	DefinitionOnly Forgetting = iota
	// WithState takes along its saved memory, firmware variables, and what is known of
	// its snapshots and checkpoints.
	WithState
)

// Undefine makes libvirt forget a domain that is off.
func (c *Conn) Undefine(ctx context.Context, name string, what Forgetting) error {
	d, state, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	if state.On() {
		return fmt.Errorf("undefine domain %s: it is %s; stop it first", name, state)
	}
	var flags golibvirt.DomainUndefineFlagsValues
	if what == WithState {
		flags = golibvirt.DomainUndefineManagedSave | golibvirt.DomainUndefineSnapshotsMetadata |
			golibvirt.DomainUndefineNvram | golibvirt.DomainUndefineCheckpointsMetadata
	}
	// The daemon's own refusal, since what is asked for before may be otherwise a moment later.
	refused := false
	err = c.tell(ctx, "undefine domain "+name, func(l *golibvirt.Libvirt) error {
		err := l.DomainUndefineFlags(d, flags)
		refused = has(err, golibvirt.ErrOperationInvalid)
		return err
	})
	if refused && what == DefinitionOnly {
		return fmt.Errorf("%w: %w", err, ErrHasState)
	}
	return err
}
