package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// wireGuests wires a host's attachments, several guests at once, and those of one
// guest in order.
func (l *instance) wireGuests(ctx context.Context, attachments []Attachment) error {
	guests := map[string][]Attachment{}
	for _, a := range attachments {
		guests[a.netns()] = append(guests[a.netns()], a)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, mine := range guests {
		group.Go(func() error {
			for _, a := range mine {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := l.wireGuest(ctx, a); err != nil {
					return fmt.Errorf("port %s: %w", a.Port, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// wireGuest makes the guest's namespace, the veth pair to its host, and the
// sub-interfaces. The switch does not know of it yet.
func (l *instance) wireGuest(ctx context.Context, a Attachment) error {
	host, err := netdev.OpenNamespace(hostNamespace(l.name, a.Host))
	if err != nil {
		return err
	}
	defer host.Close()
	guest, created, err := netdev.EnsureNamespace(a.Namespace(l.name))
	if err != nil {
		return err
	}
	defer guest.Close()
	if created {
		if err := guest.SetDefaultIPv6(netdev.IPv6Off); err != nil {
			return err
		}
	}
	dev, name := a.Device(), a.guestInterface()
	offloads := l.guestOffloads(a.Host)
	if exists(l.guestSwitch(guest, a).dir) {
		offloads = netdev.OffloadsOff // see ensureGuestSwitch
	}
	if _, err := netdev.EnsureVeth(
		netdev.VethEnd{Namespace: host, Name: dev, MTU: a.mtu()},
		netdev.VethEnd{Namespace: guest, Name: name, MTU: a.mtu(), MAC: net.HardwareAddr(a.MAC)}); err != nil {
		return err
	}
	if _, err := host.Configure(dev, netdev.LinkConfig{
		MTU: a.mtu(), ARP: netdev.Down, IPv6: netdev.IPv6Off, Offloads: offloads, State: netdev.Up,
	}); err != nil {
		return err
	}
	if _, err := guest.Configure(name, netdev.GuestConfig(net.HardwareAddr(a.MAC), a.mtu(), a.Addresses, offloads)); err != nil {
		return err
	}
	return l.ensureVLANs(ctx, host, guest, a, offloads)
}

// ensureVLANs makes the attachment's sub-interfaces.
func (l *instance) ensureVLANs(ctx context.Context, host, guest *netdev.Namespace, a Attachment, offloads netdev.OffloadMode) error {
	if len(a.VLANs) == 0 {
		return nil
	}
	inKernel := !exists(l.guestSwitch(guest, a).dir) // no switch from an earlier run
	for _, v := range a.VLANs {
		if !inKernel {
			break
		}
		_, err := guest.EnsureVLAN(a.guestInterface(), a.subInterface(v), v.ID)
		if errors.Is(err, netdev.ErrNoVLAN) {
			inKernel = false
		} else if err != nil {
			return err
		}
	}
	if !inKernel {
		// The guest's own switch is one in userspace, whatever the host's is.
		offloads = netdev.OffloadsOff
		if err := alongWire(host, guest, a, netdev.LinkConfig{Offloads: offloads}); err != nil {
			return err
		}
		if err := l.ensureGuestSwitch(ctx, guest, a); err != nil {
			return err
		}
	}
	for _, v := range a.VLANs {
		mtu := v.MTU
		if mtu == 0 {
			mtu = a.mtu()
		}
		if _, err := guest.Configure(a.subInterface(v), netdev.GuestConfig(nil, mtu, v.Addresses, offloads)); err != nil {
			return err
		}
	}
	return nil
}

// alongWire configures both ends of the attachment's wire.
func alongWire(host, guest *netdev.Namespace, a Attachment, c netdev.LinkConfig) error {
	if _, err := host.Configure(a.Device(), c); err != nil {
		return err
	}
	_, err := guest.Configure(a.guestInterface(), c)
	return err
}

func (m *Manager) guestDir(lab, role string) string { return filepath.Join(m.Dir(lab), "guests", role) }

func (l *instance) guestSwitch(guest *netdev.Namespace, a Attachment) ovs {
	role := a.Host + "." + a.netns()
	return ovs{l: l, role: role, dir: l.m.guestDir(l.name, role), datapath: datapathNetdev, ns: guest}
}

func (a Attachment) guestBridge() string { return netdev.DeviceName('b', a.guestInterface()) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ensureGuestSwitch makes the sub-interfaces where the kernel has none: an Open
// vSwitch in the guest's namespace, with the guest's interface as its trunk and
// an access port, named and addressed as the sub-interface would be, per VLAN.
// On the wire it is the same.
func (l *instance) ensureGuestSwitch(ctx context.Context, guest *netdev.Namespace, a Attachment) error {
	sw := l.guestSwitch(guest, a)
	if err := sw.ensureRunning(ctx); err != nil {
		return err
	}
	parent, err := guest.Link(a.guestInterface())
	if err != nil {
		return err
	}
	bridge := a.guestBridge()
	vids := make([]string, len(a.VLANs))
	for i, v := range a.VLANs {
		vids[i] = strconv.Itoa(int(v.ID))
	}
	args := []string{
		// Untagged frames are not in the trunk: the interface's own addresses, on
		// which the kernel answers, are the native network.
		"--", "--may-exist", "add-br", bridge,
		"--", "set", "bridge", bridge, "datapath_type=" + datapathNetdev, "fail_mode=standalone",
		"--", "--may-exist", "add-port", bridge, a.guestInterface(),
		"--", "set", "port", a.guestInterface(), "vlan_mode=trunk", "trunks=[" + strings.Join(vids, ",") + "]",
	}
	devs := []string{bridge, a.guestInterface()}
	for _, v := range a.VLANs {
		dev := a.subInterface(v)
		devs = append(devs, dev)
		mtu := v.MTU
		if mtu == 0 {
			mtu = a.mtu()
		}
		args = append(args,
			"--", "--may-exist", "add-port", bridge, dev,
			"--", "set", "port", dev, fmt.Sprintf("tag=%d", v.ID),
			"--", "set", "interface", dev, "type=internal", "mtu_request="+strconv.Itoa(mtu), "mac="+quote(parent.MAC.String()))
	}
	if _, err := sw.vsctl(ctx, args...); err != nil {
		return err
	}
	return sw.awaitDevices(ctx, devs...)
}

// PlugOptions are the ways of plugging a port.
type PlugOptions struct {
	// OFPort asks for this OpenFlow port number, 1 … 65279; 0 lets the switch
	// choose. Open vSwitch gives it if it is free.
	OFPort int
}

// plugArgs are ovs-vsctl's commands that connect attachments to br-int. The
// iface-id is set in the same transaction as the port appears.
func plugArgs(attachments []Attachment, o PlugOptions) []string {
	var args []string
	for _, a := range attachments {
		dev := a.Device()
		args = append(args,
			"--", "--may-exist", "add-port", IntegrationBridge, dev,
			"--", "set", "interface", dev, "external_ids:iface-id="+quote(a.Port))
		if len(a.MAC) > 0 {
			args = append(args, "external_ids:attached-mac="+quote(a.MAC.String()))
		}
		if o.OFPort > 0 {
			args = append(args, "ofport_request="+strconv.Itoa(o.OFPort))
		}
	}
	return args
}

// plug connects the host's attachments to its br-int.
func (l *instance) plug(ctx context.Context, host string, attachments []Attachment, o PlugOptions) error {
	if len(attachments) == 0 {
		return nil
	}
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, host))
	if err != nil {
		return err
	}
	defer ns.Close()
	_, err = l.switchOf(host, ns).vsctl(ctx, plugArgs(attachments, o)...)
	return err
}

// unplug takes an attachment's port and wire away. Its namespace stays.
func (l *instance) unplug(ctx context.Context, a Attachment) error {
	host, err := netdev.OpenNamespace(hostNamespace(l.name, a.Host))
	if err != nil {
		return err
	}
	defer host.Close()
	sw := l.switchOf(a.Host, host)
	if _, err := sw.vsctl(ctx, "--if-exists", "del-port", IntegrationBridge, a.Device()); err != nil {
		return err
	}
	if _, err = host.DeleteLink(a.Device()); err != nil {
		return err
	}
	// The kernel's sub-interfaces go with their interface; a guest's switch has to
	// be told.
	guest, err := netdev.OpenNamespace(a.Namespace(l.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer guest.Close()
	gsw := l.guestSwitch(guest, a)
	if !exists(gsw.dir) {
		return nil
	}
	_, err = gsw.vsctl(ctx, "--if-exists", "del-br", a.guestBridge())
	return err
}

// Plug connects a port, as a virtual machine that is switched on: one declared
// with this name is replaced, also if it is on another host.
func (m *Manager) Plug(ctx context.Context, lab string, a Attachment, o PlugOptions) error {
	return m.edit(ctx, lab, "plug "+a.Port, func(l *instance) error {
		next := l.st.Spec
		next.Attachments = append(slices.DeleteFunc(slices.Clone(next.Attachments),
			func(b Attachment) bool { return b.Port == a.Port }), a)
		if err := next.Check(); err != nil {
			return err
		}
		if o.OFPort < 0 || o.OFPort > 0xfeff {
			return fmt.Errorf("OpenFlow port %d; use 1 to 65279, or 0 to let the switch choose", o.OFPort)
		}
		old, existed := l.st.Spec.attachment(a.Port)
		if existed {
			if err := l.abandon(ctx, old); err != nil {
				return err
			}
			if err := l.unplug(ctx, old); err != nil {
				return err
			}
		}
		if err := l.update(func(st *state) {
			st.Spec = next
			st.Namespaces = union(st.Namespaces, next.namespaces())
			st.Unplugged = slices.DeleteFunc(st.Unplugged, func(p string) bool { return p == a.Port })
		}); err != nil {
			return err
		}
		if err := l.wireGuest(ctx, a); err != nil {
			return err
		}
		if err := l.plug(ctx, a.Host, []Attachment{a}, o); err != nil {
			return err
		}
		return l.prune(ctx)
	})
}

// Unplug disconnects a port, as a virtual machine that is switched off: its
// switch port and its wire go, its namespace stays. It remains declared: Plug
// with what [Manager.Spec] has of it, or Up, connects it again.
func (m *Manager) Unplug(ctx context.Context, lab, port string) error {
	return m.edit(ctx, lab, "unplug "+port, func(l *instance) error {
		a, ok := l.st.Spec.attachment(port)
		if v, is := l.st.Spec.machinePort(port); is {
			return fmt.Errorf("it is a NIC of guest %s; `lab stop %s` unplugs all of them", v.Name, v.Name)
		}
		if !ok {
			return errors.New("the lab has no such port; `lab status` lists them")
		}
		if err := l.abandon(ctx, a); err != nil {
			return err
		}
		if err := l.unplug(ctx, a); err != nil {
			return err
		}
		return l.update(func(st *state) { st.Unplugged = union(st.Unplugged, []string{port}) })
	})
}

// Move unplugs a port and plugs it into another host, with the same MAC and
// addresses, as a virtual machine that migrates.
func (m *Manager) Move(ctx context.Context, lab, port, host string, o PlugOptions) error {
	spec, err := m.Spec(lab)
	if err != nil {
		return err
	}
	a, ok := spec.attachment(port)
	if !ok {
		return fmt.Errorf("lab %s: move %s: the lab has no such port; `lab status` lists them", lab, port)
	}
	a.Host = host
	return m.Plug(ctx, lab, a, o)
}

// edit changes a running lab under its lock.
func (m *Manager) edit(ctx context.Context, lab, what string, f func(*instance) error) error {
	l, err := m.open(ctx, lab)
	if err != nil {
		return err
	}
	defer l.unlock()
	if l.st.Phase != PhaseUp {
		return fmt.Errorf("lab %s: %s: the lab is %s; bring it up, or down, first", lab, what, l.st.Phase)
	}
	_ = l.takeBack(ctx) // of a command that was killed; another will try again
	if err := f(l); err != nil {
		return fmt.Errorf("lab %s: %s: %w", lab, what, err)
	}
	return nil
}

// union is a with what of b it lacks.
func union[T comparable](a, b []T) []T {
	a = slices.Clip(a)
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
