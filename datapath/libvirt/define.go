package libvirt

import (
	"context"
	"errors"
	"fmt"

	golibvirt "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// Outcome is what defining a domain came to.
type Outcome string

// The outcomes.
const (
	Defined   Outcome = "defined"
	Changed   Outcome = "changed" // a running domain gets it at its next start
	Unchanged Outcome = "unchanged"
)

// Definition is a domain and the libvirt networks that its interfaces name, each
// a document of XML.
type Definition struct {
	Domain   string
	Networks []string
}

// Define makes libvirt have the domain, and its networks, active and started
// with the daemon. What is there already and is the same stays as it is. Before
// anything is defined the domain's images are looked for. If it fails nothing
// is left of what it has defined; the error is ErrExists if a domain or network of
// that name is there and is another one, and ErrNoKVM if the domain is for KVM and
// libvirt has none.
func (c *Conn) Define(ctx context.Context, d Definition) (Outcome, error) {
	want, err := parse[domainXML](d.Domain)
	if err != nil {
		return "", fmt.Errorf("define a domain: %w", err)
	}
	what := "define domain " + want.Name
	if err := want.missingImages(); err != nil {
		return "", fmt.Errorf("%s: an image is missing; nothing was defined:\n%w", what, err)
	}
	existed, err := c.checkIdentity(ctx, want)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	var undo undoing
	outcome, err := c.define(ctx, d, existed, &undo)
	if err != nil {
		err = c.whetherKVM(ctx, want, err)
		if left := undo.run(ctx, c); left != nil {
			err = fmt.Errorf("%w\nand it could not be taken back: %w", err, left)
		}
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return outcome, nil
}

// DefineNetwork makes libvirt have a network as Define does, as a host needs it to
// which a domain is migrated.
func (c *Conn) DefineNetwork(ctx context.Context, document string) error {
	var undo undoing
	err := c.ensureNetwork(ctx, document, &undo)
	if err == nil {
		return nil
	}
	if left := undo.run(ctx, c); left != nil {
		err = fmt.Errorf("%w\nand it could not be taken back: %w", err, left)
	}
	return err
}

// define is Define without taking back.
func (c *Conn) define(ctx context.Context, d Definition, existed bool, undo *undoing) (Outcome, error) {
	for _, n := range d.Networks {
		if err := c.ensureNetwork(ctx, n, undo); err != nil {
			return "", err
		}
	}
	want, err := parse[domainXML](d.Domain)
	if err != nil {
		return "", err
	}
	before := ""
	if existed {
		if before, err = c.DomainXML(ctx, want.Name); err != nil {
			return "", err
		}
	} else {
		// Also after a call that was given up and may yet be carried out.
		undo.add(func(ctx context.Context, c *Conn) error {
			if err := c.Undefine(ctx, want.Name, DefinitionOnly); !errors.Is(err, ErrNoDomain) {
				return err
			}
			return nil
		})
	}
	_, err = ask(ctx, c, "define "+want.Name, func(l *golibvirt.Libvirt) (golibvirt.Domain, error) {
		return l.DomainDefineXMLFlags(d.Domain, 0)
	})
	if err != nil {
		return "", err
	}
	if !existed {
		return Defined, nil
	}
	after, err := c.DomainXML(ctx, want.Name)
	switch {
	case err != nil:
		return "", err
	case after == before:
		return Unchanged, nil
	}
	return Changed, nil
}

// checkIdentity reports whether libvirt has the domain already. One of the same
// name and another UUID, or the other way round, is somebody else's.
func (c *Conn) checkIdentity(ctx context.Context, want domainXML) (existed bool, err error) {
	id, err := uuid.Parse(want.UUID)
	if err != nil {
		return false, fmt.Errorf("its UUID %q: %w", want.UUID, err)
	}
	have, err := ask(ctx, c, "list domains", func(l *golibvirt.Libvirt) ([]golibvirt.Domain, error) {
		ds, _, err := l.ConnectListAllDomains(1, 0)
		return ds, err
	})
	if err != nil {
		return false, err
	}
	for _, d := range have {
		switch hasID := uuid.UUID(d.UUID); {
		case d.Name == want.Name && hasID == id:
			return true, nil
		case d.Name == want.Name:
			return false, fmt.Errorf("%w: its UUID is %s, not %s; if it may go, `virsh undefine %s`, else give the guest another name", ErrExists, hasID, id, d.Name)
		case hasID == id:
			return false, fmt.Errorf("%w: domain %s has the UUID %s; was the guest renamed? `virsh undefine %s` removes the old one", ErrExists, d.Name, id, d.Name)
		}
	}
	return false, nil
}

// ensureNetwork makes libvirt have the network, active now and after a restart.
func (c *Conn) ensureNetwork(ctx context.Context, document string, undo *undoing) error {
	want, err := parse[networkXML](document)
	if err != nil {
		return err
	}
	what := "network " + want.Name
	network, err := c.network(ctx, want.Name)
	switch {
	case err == nil:
		if err := c.sameNetwork(ctx, network, want); err != nil {
			return err
		}
	case has(err, golibvirt.ErrNoNetwork):
		undo.add(func(ctx context.Context, c *Conn) error { return c.undefineNetwork(ctx, want.Name) })
		network, err = ask(ctx, c, "define "+what, func(l *golibvirt.Libvirt) (golibvirt.Network, error) {
			return l.NetworkDefineXML(document)
		})
		if err != nil {
			return err
		}
	default:
		return explain("look for "+what, err)
	}
	active, err := ask(ctx, c, "look at "+what, func(l *golibvirt.Libvirt) (int32, error) { return l.NetworkIsActive(network) })
	if err != nil {
		return err
	}
	if active == 0 {
		undo.add(func(ctx context.Context, c *Conn) error { return c.stopNetwork(ctx, want.Name) })
		if err := c.tell(ctx, "start "+what, func(l *golibvirt.Libvirt) error { return l.NetworkCreate(network) }); err != nil {
			return err
		}
	}
	return c.tell(ctx, "start "+what+" with the daemon", func(l *golibvirt.Libvirt) error { return l.NetworkSetAutostart(network, 1) })
}

// network is a network by its name. The error is go-libvirt's.
func (c *Conn) network(ctx context.Context, name string) (golibvirt.Network, error) {
	type found struct {
		network golibvirt.Network
		err     error
	}
	f, err := ask(ctx, c, "look for network "+name, func(l *golibvirt.Libvirt) (found, error) {
		n, err := l.NetworkLookupByName(name)
		return found{n, err}, nil
	})
	return f.network, errors.Join(err, f.err)
}

func (c *Conn) sameNetwork(ctx context.Context, network golibvirt.Network, want networkXML) error {
	document, err := ask(ctx, c, "look at network "+want.Name, func(l *golibvirt.Libvirt) (string, error) {
		return l.NetworkGetXMLDesc(network, 0)
	})
	if err != nil {
		return err
	}
	have, err := parse[networkXML](document)
	if err != nil {
		return err
	}
	if have.Forward != want.Forward || have.Bridge != want.Bridge || have.Port != want.Port {
		return fmt.Errorf("%w: network %s is on bridge %q with forward mode %q and virtualport %q; wanted are %q, %q and %q; if it may go, `virsh net-destroy %[2]s` and `virsh net-undefine %[2]s`",
			ErrExists, want.Name, have.Bridge.Name, have.Forward.Mode, have.Port.Type, want.Bridge.Name, want.Forward.Mode, want.Port.Type)
	}
	return nil
}

func (c *Conn) stopNetwork(ctx context.Context, name string) error {
	network, err := c.network(ctx, name)
	if has(err, golibvirt.ErrNoNetwork) {
		return nil
	} else if err != nil {
		return explain("stop network "+name, err)
	}
	active, err := ask(ctx, c, "look at network "+name, func(l *golibvirt.Libvirt) (int32, error) { return l.NetworkIsActive(network) })
	if err != nil || active == 0 {
		return err
	}
	return c.tell(ctx, "stop network "+name, func(l *golibvirt.Libvirt) error { return l.NetworkDestroy(network) })
}

func (c *Conn) undefineNetwork(ctx context.Context, name string) error {
	network, err := c.network(ctx, name)
	if has(err, golibvirt.ErrNoNetwork) {
		return nil
	} else if err != nil {
		return explain("undefine network "+name, err)
	}
	return c.tell(ctx, "undefine network "+name, func(l *golibvirt.Libvirt) error { return l.NetworkUndefine(network) })
}

// undoing is what takes back what was done, in order.
type undoing struct {
	steps []func(context.Context, *Conn) error
}

func (u *undoing) add(f func(context.Context, *Conn) error) { u.steps = append(u.steps, f) }

// run takes back the last first, on a connection of its own: the failure may have
// been that of the other. It is not ended by the end of ctx.
func (u *undoing) run(ctx context.Context, c *Conn) error {
	if len(u.steps) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	fresh, err := c.again(ctx)
	if err != nil {
		return err
	}
	defer fresh.Close()
	var errs []error
	for i := len(u.steps) - 1; i >= 0; i-- {
		errs = append(errs, u.steps[i](ctx, fresh))
	}
	return errors.Join(errs...)
}

// RemoveUnusedNetwork makes libvirt forget a network, unless a domain has an
// interface on it; removed says which. One that is not there is not removed.
func (c *Conn) RemoveUnusedNetwork(ctx context.Context, name string) (removed bool, err error) {
	if _, err := c.network(ctx, name); has(err, golibvirt.ErrNoNetwork) {
		return false, nil
	}
	domains, err := c.Domains(ctx)
	if err != nil {
		return false, err
	}
	for _, d := range domains {
		for _, i := range d.Interfaces {
			if i.Source == name {
				return false, nil
			}
		}
	}
	if err := c.stopNetwork(ctx, name); err != nil {
		return false, err
	}
	return true, c.undefineNetwork(ctx, name)
}
