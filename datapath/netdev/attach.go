package netdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// undoTimeout bounds taking back the steps of a failed Attach, which happens
// also when the caller's context is done.
const undoTimeout = 10 * time.Second

// Switch is what Attach and Detach need of the integration bridge.
type Switch interface {
	// IfaceID returns the external_ids:iface-id of the bridge's port dev, empty if
	// it has none; exists is false if the bridge has no such port.
	IfaceID(ctx context.Context, dev string) (id string, exists bool, err error)
	// AddPort adds the device dev to the bridge with that iface-id, or sets the
	// iface-id of the port that is there.
	AddPort(ctx context.Context, dev, ifaceID string) error
	// ClearIfaceID removes the iface-id of the port dev.
	ClearIfaceID(ctx context.Context, dev string) error
	// DeletePort deletes the port dev from the bridge.
	DeletePort(ctx context.Context, dev string) error
}

// Attachment is a namespace, or a tap for a virtual machine, on this host
// connected to the integration bridge.
type Attachment struct {
	// Port is the logical port's name, the iface-id.
	Port string
	// Namespace is created if it is missing. Empty attaches a tap device.
	Namespace string
	// Interface is the name in the namespace, eth0 if empty.
	Interface string
	// MAC and Addresses are those of the interface in the namespace; the guest
	// behind a tap sets its own.
	MAC       net.HardwareAddr
	Addresses []netip.Prefix
	// MTU is in bytes of the network layer; 0 leaves the kernel's 1500.
	MTU int
	// Offloads is for both ends of the veth pair: what the datapath can take. A
	// tap's are what the virtual machine has negotiated.
	Offloads OffloadMode
}

// Device is the name of the host's end, derived from the port's name.
func (a Attachment) Device() string { return DeviceName('p', a.Port) }

func (a Attachment) guest() string {
	if a.Interface == "" {
		return "eth0"
	}
	return a.Interface
}

// Check reports what is wrong with the attachment before anything is done.
func (a Attachment) Check() error {
	if a.Port == "" {
		return errors.New("attach: the port has no name")
	}
	if a.MTU != 0 && (a.MTU < 68 || a.MTU > 65535) {
		return fmt.Errorf("attach %s: MTU %d; use 68 to 65535", a.Port, a.MTU)
	}
	if a.MAC != nil && (len(a.MAC) != 6 || a.MAC[0]&1 != 0) {
		return fmt.Errorf("attach %s: MAC %s is not a 48-bit unicast address", a.Port, a.MAC)
	}
	for _, p := range a.Addresses {
		if !p.IsValid() {
			return fmt.Errorf("attach %s: an address is not valid; write it with its prefix length, as in 10.1.1.1/24", a.Port)
		}
	}
	if a.Namespace == "" {
		if len(a.Addresses) > 0 {
			return fmt.Errorf("attach %s: addresses need a namespace; a guest behind a tap sets its own", a.Port)
		}
		return nil
	}
	if err := CheckNamespaceName(a.Namespace); err != nil {
		return fmt.Errorf("attach %s: %w", a.Port, err)
	}
	if err := CheckInterfaceName(a.guest()); err != nil {
		return fmt.Errorf("attach %s: %w", a.Port, err)
	}
	return nil
}

// Attach makes the attachment in the namespace this process runs in and on sw,
// and returns what it had to do, step by step, in words; nothing if all was so
// already. If a step fails, or ctx is done, the steps of this call that created
// something are taken back in reverse order.
func Attach(ctx context.Context, sw Switch, a Attachment) (changed []string, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	root, err := CurrentNamespace()
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", a.Port, err)
	}
	defer root.Close()
	at := attaching{sw: sw, root: root, a: a}
	if err := at.run(ctx); err != nil {
		return nil, at.failed(ctx, err)
	}
	return at.changed, nil
}

// Restore makes the devices of an attachment that sw has as a port already, as after
// a reboot: Open vSwitch keeps its ports, and opens their devices once they are there.
// It returns what it had to do, and takes back what failed, as Attach does. opened says
// that the switch has opened the port's device before; if that has gone since, the port
// is plugged anew.
func Restore(ctx context.Context, sw Switch, a Attachment, opened bool) (changed []string, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	root, err := CurrentNamespace()
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", a.Port, err)
	}
	defer root.Close()
	at := attaching{sw: sw, root: root, a: a}
	err = at.devices(ctx)
	if err == nil && at.fresh && opened {
		err = at.plug(ctx, a.Device())
	}
	if err != nil {
		return nil, at.failed(ctx, err)
	}
	return at.changed, nil
}

// failed takes back what was done before err, and says what failed.
func (at *attaching) failed(ctx context.Context, err error) error {
	uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if uerr := at.undo(uctx); uerr != nil {
		return fmt.Errorf("attach %s: %w; and taking it back failed too: %w", at.a.Port, err, uerr)
	}
	return fmt.Errorf("attach %s: %w", at.a.Port, err)
}

// attaching is one run of Attach: what it changed and how to take it back.
type attaching struct {
	sw      Switch
	root    *Namespace
	a       Attachment
	fresh   bool // the host's end was made by this run
	changed []string
	undos   []func(context.Context) error
}

func (at *attaching) did(what string, undo func(context.Context) error) {
	at.changed = append(at.changed, what)
	at.undos = append(at.undos, undo)
}

func (at *attaching) undo(ctx context.Context) error {
	var errs []error
	for i := len(at.undos) - 1; i >= 0; i-- {
		errs = append(errs, at.undos[i](ctx))
	}
	return errors.Join(errs...)
}

func (at *attaching) run(ctx context.Context) error {
	if err := at.devices(ctx); err != nil {
		return err
	}
	return at.plug(ctx, at.a.Device())
}

// devices makes the devices, with the host's end and all that is on the guest's.
func (at *attaching) devices(ctx context.Context) error {
	dev := at.a.Device()
	deleteDev := func(context.Context) error {
		_, err := at.root.DeleteLink(dev)
		return err
	}
	hostEnd := LinkConfig{MTU: at.a.MTU, ARP: Down, IPv6: IPv6Off, Offloads: at.a.Offloads, State: Up}
	if at.a.Namespace == "" {
		created, err := at.root.EnsureTap(dev)
		if err != nil {
			return err
		}
		if at.fresh = created; created {
			at.did("tap "+dev, deleteDev)
		}
		hostEnd.Offloads = OffloadsAsIs
	} else {
		guest, created, err := EnsureNamespace(at.a.Namespace)
		if err != nil {
			return err
		}
		defer guest.Close()
		if created {
			at.did("namespace "+at.a.Namespace, func(context.Context) error { return DeleteNamespace(at.a.Namespace) })
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := notAnothers(guest, at.a.guest(), at.root, dev); err != nil {
			return err
		}
		created, err = EnsureVeth(
			VethEnd{Namespace: at.root, Name: dev, MTU: at.a.MTU},
			VethEnd{Namespace: guest, Name: at.a.guest(), MTU: at.a.MTU, MAC: at.a.MAC})
		if err != nil {
			return err
		}
		if at.fresh = created; created {
			at.did(fmt.Sprintf("veth %s to %s in namespace %s", dev, at.a.guest(), at.a.Namespace), deleteDev)
		}
		if err := at.configure(guest, at.a.guest(), GuestConfig(at.a.MAC, at.a.MTU, at.a.Addresses, at.a.Offloads)); err != nil {
			return err
		}
	}
	if err := at.configure(at.root, dev, hostEnd); err != nil {
		return err
	}
	return ctx.Err()
}

// notAnothers is an error if guest has an interface of that name that is not the
// peer of dev: it is another attachment's, or all that a container has.
func notAnothers(guest *Namespace, name string, root *Namespace, dev string) error {
	inside, err := guest.link(name)
	if errors.Is(err, ErrNoLink) {
		return nil
	} else if err != nil {
		return err
	}
	outside, err := root.link(dev)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return err
	}
	if outside != nil && paired(inside, outside) {
		return nil
	}
	return guest.wrap("create veth", name, errors.New("an interface that is not the port's has this name; choose another name for the port's, or delete it"))
}

func (at *attaching) configure(ns *Namespace, dev string, c LinkConfig) error {
	changed, err := ns.Configure(dev, c)
	at.changed = append(at.changed, changed...)
	return err
}

// plug comes last: a port with an iface-id gets flows at once.
func (at *attaching) plug(ctx context.Context, dev string) error {
	id, exists, err := at.sw.IfaceID(ctx, dev)
	if err != nil {
		return err
	}
	if exists && id == at.a.Port && !at.fresh {
		return nil
	}
	if exists && at.fresh {
		// The userspace datapath keeps a device open that is gone, and does not see that
		// there is another one of its name.
		if err := at.sw.DeletePort(ctx, dev); err != nil {
			return err
		}
		exists = false
	}
	if !exists {
		// Before the step, because a transaction whose reply is lost may have landed.
		at.undos = append(at.undos, func(ctx context.Context) error {
			_, exists, err := at.sw.IfaceID(ctx, dev)
			if err != nil || !exists {
				return err
			}
			return at.sw.DeletePort(ctx, dev)
		})
	}
	if err := at.sw.AddPort(ctx, dev, at.a.Port); err != nil {
		return err
	}
	at.changed = append(at.changed, fmt.Sprintf("switch port %s with iface-id %s", dev, at.a.Port))
	return nil
}

// GuestConfig is how an interface in a guest's namespace has to be set for an
// overlay: up, with the offloads that the datapath can take, and IPv6 only if one
// of its addresses is one.
func GuestConfig(mac net.HardwareAddr, mtu int, addresses []netip.Prefix, offloads OffloadMode) LinkConfig {
	c := LinkConfig{MAC: mac, MTU: mtu, Offloads: offloads, State: Up, IPv6: IPv6Off, Addresses: addresses}
	if c.Addresses == nil {
		c.Addresses = []netip.Prefix{}
	}
	for _, p := range addresses {
		if p.Addr().Is6() {
			c.IPv6 = IPv6Static
		}
	}
	return c
}

// Detach takes the attachment of a.Port away and returns what it did; nothing
// if it was gone. The iface-id goes first, so that the controller removes the
// port's flows; flowsGone (nil to skip it) waits until they are; only then is
// the switch port deleted, because its OpenFlow number may be given to another
// at once, and last the device. The namespace stays: it may hold other things.
// If a step fails, running Detach again goes on from there.
func Detach(ctx context.Context, sw Switch, a Attachment, flowsGone func(context.Context) error) (changed []string, err error) {
	if a.Port == "" {
		return nil, errors.New("detach: the port has no name")
	}
	root, err := CurrentNamespace()
	if err != nil {
		return nil, fmt.Errorf("detach %s: %w", a.Port, err)
	}
	defer root.Close()
	dev := a.Device()
	id, exists, err := sw.IfaceID(ctx, dev)
	if err != nil {
		return nil, fmt.Errorf("detach %s: %w", a.Port, err)
	}
	if exists {
		if id != "" {
			if err := sw.ClearIfaceID(ctx, dev); err != nil {
				return nil, fmt.Errorf("detach %s: %w", a.Port, err)
			}
			changed = append(changed, "iface-id of "+dev+" cleared")
		}
		if flowsGone != nil {
			if err := flowsGone(ctx); err != nil {
				return changed, fmt.Errorf("detach %s: wait for its flows to go: %w; the switch port %s is kept, detach again", a.Port, err, dev)
			}
		}
		if err := sw.DeletePort(ctx, dev); err != nil {
			return changed, fmt.Errorf("detach %s: %w", a.Port, err)
		}
		changed = append(changed, "switch port "+dev+" deleted")
	}
	deleted, err := root.DeleteLink(dev)
	if err != nil {
		return changed, fmt.Errorf("detach %s: %w", a.Port, err)
	}
	if deleted {
		changed = append(changed, "device "+dev+" deleted")
	}
	return changed, nil
}
