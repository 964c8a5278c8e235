package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// Handover are the moments of a live migration at which somebody else has to do
// something, or be waited for. An error of either ends the migration, and the guest
// stays where it was.
type Handover struct {
	// Begin is called first, if it is not nil: it gives leave for the port to be on two
	// hosts.
	Begin func(context.Context, Noting) error
	// Prepared is called when the port is attached on both hosts. It returns when
	// the guest may go over.
	Prepared func(context.Context) error
	// Over is called when the guest has gone over. It returns when the attachment
	// that it has left may go.
	Over func(context.Context) error
}

// Migrate moves a port to another host while its guest goes on running: a second
// interface, with the same addresses, is attached there before the guest goes over
// to it, and the first one goes after that. The guest's processes, connections and
// its interface's name stay, and so do addresses and routes that it has set itself
// (see [netdev.Settings]); what else it has set on the interface is lost. The guest announces itself as one that has migrated
// does (RARP as qemu sends it, and gratuitous ARP, RFC 5227 section 3).
//
// away is how long the guest had neither interface: what the pause of a virtual
// machine is. A port with sub-interfaces, and one of a guest with several ports, is
// refused.
func (m *Manager) Migrate(ctx context.Context, lab, port, host string, h Handover) (away time.Duration, err error) {
	err = m.edit(ctx, lab, fmt.Sprintf("migrate %s to %s", port, host), func(l *instance) error {
		a, err := l.mayMigrate(port, host)
		if err != nil {
			return err
		}
		if err := l.abandon(ctx, a); err != nil {
			return err
		}
		if h.Begin != nil {
			err = h.Begin(ctx, l.note)
		}
		if err == nil {
			away, err = l.moveLive(ctx, a, host, h)
		}
		return errors.Join(err, l.takeBack(ctx))
	})
	return away, err
}

// mayMigrate is the attachment of a port that can migrate to the host.
func (l *instance) mayMigrate(port, host string) (Attachment, error) {
	a, ok := l.st.Spec.attachment(port)
	switch {
	case !ok:
		return a, errors.New("the lab has no such port; `lab status` lists them")
	case slices.Contains(l.st.Unplugged, port):
		return a, errors.New("the port is unplugged; plug it in first, or move it")
	case !slices.ContainsFunc(l.st.Spec.Hosts, func(h Host) bool { return h.Name == host }):
		return a, fmt.Errorf("the lab has no host %s", host)
	case a.Host == host:
		return a, fmt.Errorf("the port is on %s already", host)
	case len(a.VLANs) > 0:
		return a, errors.New("sub-interfaces cannot go over to another interface while they are used; move the port instead")
	}
	for _, b := range l.st.Spec.Attachments {
		if b.Port != port && b.Namespace(l.name) == a.Namespace(l.name) {
			return a, fmt.Errorf("its guest has port %s too, which would have to go at the same moment; move the ports instead", b.Port)
		}
	}
	return a, nil
}

// with is how the guest's interface is configured, with the addresses it has.
func (a Attachment) with(has netdev.Settings) netdev.LinkConfig {
	return netdev.GuestConfig(net.HardwareAddr(a.MAC), a.mtu(), has.Addresses, netdev.OffloadsAsIs)
}

// arriving is the guest's name of the interface to which it goes over.
func (a Attachment) arriving() string { return netdev.DeviceName('m', a.guestInterface()) }

func (l *instance) moveLive(ctx context.Context, a Attachment, host string, h Handover) (away time.Duration, err error) {
	guest, err := netdev.OpenNamespace(a.Namespace(l.name))
	if err != nil {
		return 0, err
	}
	defer guest.Close()
	next := a
	next.Host = host
	// Where what an interrupted migration has left is found; see abandon.
	if err := l.update(func(st *state) { st.Migrating = with(st.Migrating, a.Port, host) }); err != nil {
		return 0, err
	}
	announced, err := l.prepare(ctx, guest, next)
	if err == nil {
		defer announced.Close()
		err = h.Prepared(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, l.abandon(context.WithoutCancel(ctx), a))
	}
	if away, err = l.goOver(guest, a, announced); err == nil {
		err = h.Over(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, l.abandon(context.WithoutCancel(ctx), a))
	}
	return away, l.leave(ctx, guest, a, next)
}

// prepare attaches the guest's second interface on the host of next. It sends
// nothing yet: it has no addresses. What it returns is for the announcement.
func (l *instance) prepare(ctx context.Context, guest *netdev.Namespace, next Attachment) (*netdev.PacketConn, error) {
	host, err := netdev.OpenNamespace(hostNamespace(l.name, next.Host))
	if err != nil {
		return nil, err
	}
	defer host.Close()
	dev, name := next.Device(), next.arriving()
	offloads := l.guestOffloads(next.Host)
	if _, err := netdev.EnsureVeth(
		netdev.VethEnd{Namespace: host, Name: dev, MTU: next.mtu()},
		netdev.VethEnd{Namespace: guest, Name: name, MTU: next.mtu(), MAC: net.HardwareAddr(next.MAC)}); err != nil {
		return nil, err
	}
	if _, err := host.Configure(dev, netdev.LinkConfig{
		MTU: next.mtu(), ARP: netdev.Down, IPv6: netdev.IPv6Off, Offloads: offloads, State: netdev.Up,
	}); err != nil {
		return nil, err
	}
	if _, err := guest.Configure(name, netdev.GuestConfig(net.HardwareAddr(next.MAC), next.mtu(), nil, offloads)); err != nil {
		return nil, err
	}
	conn, err := guest.OpenPacket(name)
	if err != nil {
		return nil, err
	}
	if err := l.plug(ctx, next.Host, []Attachment{next}, PlugOptions{}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// goOver is the moment of the migration: the guest's old interface goes down, as that
// of a guest that is paused, and the addresses go to the new one.
func (l *instance) goOver(guest *netdev.Namespace, a Attachment, announced *netdev.PacketConn) (time.Duration, error) {
	has, err := guest.Settings(a.guestInterface())
	if err != nil {
		return 0, err
	}
	started := time.Now()
	if _, err := guest.Configure(a.guestInterface(), netdev.LinkConfig{State: netdev.Down}); err != nil {
		return 0, err
	}
	if _, err := guest.Configure(a.arriving(), a.with(has)); err != nil {
		return 0, err
	}
	if err := guest.SetRoutes(a.arriving(), has); err != nil {
		return 0, err
	}
	link, err := guest.Link(a.arriving())
	if err != nil {
		return 0, err
	}
	for _, frame := range announcements(link.MAC, has.Addresses) {
		if err := announced.Send(frame); err != nil {
			return 0, err
		}
	}
	return time.Since(started), nil
}

// leave takes the attachment away that the guest has left, and gives what it has now
// the names of the other.
func (l *instance) leave(ctx context.Context, guest *netdev.Namespace, a, next Attachment) error {
	if err := l.unplug(ctx, a); err != nil {
		return err
	}
	has, err := guest.Settings(a.arriving())
	if err != nil {
		return err
	}
	if err := guest.RenameLink(a.arriving(), a.guestInterface(), a.with(has)); err != nil {
		return err
	}
	if err := guest.SetRoutes(a.guestInterface(), has); err != nil {
		return err
	}
	was, is := a.Namespace(l.name), next.Namespace(l.name)
	if err := l.update(func(st *state) { st.Namespaces = union(st.Namespaces, []string{is}) }); err != nil {
		return err
	}
	if err := guest.AddName(is); err != nil {
		return err
	}
	if err := l.update(func(st *state) {
		st.Spec.Attachments = slices.Clone(st.Spec.Attachments)
		for i := range st.Spec.Attachments {
			if st.Spec.Attachments[i].Port == a.Port {
				st.Spec.Attachments[i] = next
			}
		}
		delete(st.Migrating, a.Port)
	}); err != nil {
		return err
	}
	// Only the name: the guest goes on living in the namespace.
	if err := netdev.DeleteNamespace(was); err != nil {
		return err
	}
	return l.update(func(st *state) {
		st.Namespaces = slices.DeleteFunc(st.Namespaces, func(n string) bool { return n == was })
	})
}

// abandon takes back what a migration of the port has done so far, if there was one.
func (l *instance) abandon(ctx context.Context, a Attachment) error {
	host, migrating := l.st.Migrating[a.Port]
	if !migrating {
		return nil
	}
	guest, err := netdev.OpenNamespace(a.Namespace(l.name))
	if err != nil {
		return err
	}
	defer guest.Close()
	has, err := guest.Settings(a.guestInterface())
	if err != nil {
		return err
	}
	over, err := guest.Settings(a.arriving())
	if err != nil && !errors.Is(err, netdev.ErrNoLink) {
		return err
	}
	// The old interface first: what the guest has to say goes out there again.
	if _, err := guest.DeleteLink(a.arriving()); err != nil {
		return err
	}
	// The guest has gone over in whole, in part or not at all.
	has.Addresses = union(union(a.Addresses, has.Addresses), over.Addresses)
	if _, err := guest.Configure(a.guestInterface(), a.with(has)); err != nil {
		return err
	}
	if err := guest.SetRoutes(a.guestInterface(), over); err != nil {
		return err
	}
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, host))
	if err != nil {
		return err
	}
	defer ns.Close()
	if _, err := l.switchOf(host, ns).vsctl(ctx, "--if-exists", "del-port", IntegrationBridge, a.Device()); err != nil {
		return err
	}
	if err := l.update(func(st *state) { delete(st.Migrating, a.Port) }); err != nil {
		return err
	}
	_ = l.takeBack(ctx) // as in edit
	return nil
}

func with[V any](m map[string]V, k string, v V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[k] = v
	return m
}

// announcements are the frames by which a guest that has migrated makes itself known:
// a reverse ARP request for its own MAC (RFC 903, as qemu sends it), and a gratuitous
// ARP request for each of its IPv4 addresses.
func announcements(mac net.HardwareAddr, addresses []netip.Prefix) [][]byte {
	const etherRARP, rarpRequest, etherARP, arpRequest = 0x8035, 3, 0x0806, 1
	frames := [][]byte{arpFrame(etherRARP, rarpRequest, mac, netip.IPv4Unspecified())}
	copy(frames[0][32:], mac) // whose address is asked for: its own
	for _, p := range addresses {
		if p.Addr().Is4() {
			frames = append(frames, arpFrame(etherARP, arpRequest, mac, p.Addr()))
		}
	}
	return frames
}

// arpFrame is a broadcast ARP frame (RFC 826) with sender and target address a.
func arpFrame(etherType, op uint16, mac net.HardwareAddr, a netip.Addr) []byte {
	b := make([]byte, 0, 60)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	b = append(b, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4 and their lengths
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(b, mac...)
	b = append(b, a.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = append(b, a.AsSlice()...)
	return b[:cap(b)]
}
