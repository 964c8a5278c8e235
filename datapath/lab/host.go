package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The names of the infrastructure's bridges and of a host's own ends.
const (
	underlayDevice   = "underlay"
	managementDevice = "mgmt"
	uplinkDevice     = "uplink"
	hostManagement   = "mgmt0"
)

// uplinkPeer and managementPeer are a host's ends in the infrastructure.
func uplinkPeer(host string) string     { return netdev.DeviceName('u', host) }
func managementPeer(host string) string { return netdev.DeviceName('m', host) }

// underlayMAC is the MAC of a host's TEP: fixed, so that the other hosts can be
// told it, and the same in each run.
func underlayMAC(lab, host string) net.HardwareAddr { return fixedMAC(lab + "/" + host) }

// bareMAC is the MAC of an uplink that is a port of br-phy. With that of the TEP,
// the kernel would take the frames too that Open vSwitch reads from the uplink.
func bareMAC(lab, host string) net.HardwareAddr { return fixedMAC(lab + "/" + host + "/uplink") }

func fixedMAC(seed string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(seed))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // unicast, locally administered
	return mac
}

// ensureInfrastructure makes the lab's own namespace and its two bridges.
func (l *instance) ensureInfrastructure() error {
	ns, _, err := netdev.EnsureNamespace(hostNamespace(l.name, infrastructure))
	if err != nil {
		return err
	}
	defer ns.Close()
	mgmt := netip.PrefixFrom(l.st.Management.Addr().Next(), l.st.Management.Bits())
	for dev, c := range map[string]netdev.LinkConfig{
		underlayDevice:   {MTU: l.st.Spec.Underlay.MTU, IPv6: netdev.IPv6Off, ARP: netdev.Down, State: netdev.Up},
		managementDevice: {IPv6: netdev.IPv6Off, State: netdev.Up, Addresses: []netip.Prefix{mgmt}},
	} {
		if _, err := ns.EnsureBridge(dev); err != nil {
			return err
		}
		if _, err := ns.Configure(dev, c); err != nil {
			return err
		}
	}
	return nil
}

// switchOf is the Open vSwitch of a host, whose namespace the caller has opened.
func (l *instance) switchOf(host string, ns *netdev.Namespace) ovs {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ovs{l: l, role: host, dir: l.m.hostDir(l.name, host), datapath: l.st.Datapaths[host], ns: ns}
}

func (m *Manager) hostDir(lab, host string) string { return filepath.Join(m.Dir(lab), "hosts", host) }

// ensureHost makes a host: namespace, links, daemons, and the TEP.
func (l *instance) ensureHost(ctx context.Context, h Host) error {
	infra, err := netdev.OpenNamespace(hostNamespace(l.name, infrastructure))
	if err != nil {
		return err
	}
	defer infra.Close()
	ns, _, err := netdev.EnsureNamespace(hostNamespace(l.name, h.Name))
	if err != nil {
		return err
	}
	defer ns.Close()
	// What Open vSwitch creates shall be silent from its first moment.
	if err := ns.SetDefaultIPv6(netdev.IPv6Off); err != nil {
		return err
	}
	mtu := l.st.Spec.Underlay.MTU
	if err := connect(infra, uplinkPeer(h.Name), underlayDevice, ns, uplinkDevice,
		netdev.LinkConfig{MTU: mtu, Offloads: l.underlayOffloads(), State: netdev.Up}); err != nil {
		return err
	}
	mgmt := netip.PrefixFrom(l.st.Addresses[h.Name], l.st.Management.Bits())
	if err := connect(infra, managementPeer(h.Name), managementDevice, ns, hostManagement,
		netdev.LinkConfig{MTU: 1500, IPv6: netdev.IPv6Off, State: netdev.Up, Addresses: []netip.Prefix{mgmt}}); err != nil {
		return err
	}
	sw := l.switchOf(h.Name, ns)
	if err := sw.ensureRunning(ctx); err != nil {
		return err
	}
	if err := sw.ensureType(ctx, IntegrationBridge); err != nil {
		return err
	}
	if sw.datapath == datapathNetdev {
		err = l.ensureUnderlayBridge(ctx, sw, h)
	} else if _, err = sw.vsctl(ctx, "--if-exists", "del-br", UnderlayBridge); err == nil {
		// The kernel's tunnels need no bridge, and a TEP on one needs ovs-vswitchd for ARP.
		err = l.ensureTEP(ns, h, uplinkDevice, netdev.LinkConfig{MAC: underlayMAC(l.name, h.Name), ARP: netdev.Up})
	}
	return err
}

// ensureUnderlayBridge makes br-phy, out of which the userspace datapath sends what it
// has put into tunnels, and puts the TEP on its local port.
func (l *instance) ensureUnderlayBridge(ctx context.Context, sw ovs, h Host) error {
	// Without ARP and addresses: the uplink would answer for the TEP with a MAC of its own.
	if _, err := sw.ns.Configure(uplinkDevice, netdev.LinkConfig{
		MAC: bareMAC(l.name, h.Name), ARP: netdev.Down, IPv6: netdev.IPv6Off, Addresses: []netip.Prefix{},
	}); err != nil {
		return err
	}
	mtu := strconv.Itoa(l.st.Spec.Underlay.MTU)
	if _, err := sw.vsctl(ctx,
		"--", "--may-exist", "add-br", UnderlayBridge,
		"--", "set", "bridge", UnderlayBridge, "datapath_type="+sw.datapath, "fail_mode=standalone",
		// No hidden flows for the controllers of other bridges and the OVSDB manager,
		// which are on the management network (ovs-vswitchd(8), In-Band Control).
		"other_config:disable-in-band=true",
		"other_config:hwaddr="+quote(underlayMAC(l.name, h.Name).String()),
		"--", "--may-exist", "add-port", UnderlayBridge, uplinkDevice,
		"--", "set", "interface", UnderlayBridge, "mtu_request="+mtu,
		"--", "set", "interface", uplinkDevice, "mtu_request="+mtu); err != nil {
		return err
	}
	if err := sw.awaitDevices(ctx, UnderlayBridge, uplinkDevice); err != nil {
		return err
	}
	return l.ensureTEP(sw.ns, h, UnderlayBridge, netdev.LinkConfig{})
}

// connect makes a veth pair from a host into a bridge of the infrastructure.
func connect(infra *netdev.Namespace, peer, bridge string, host *netdev.Namespace, dev string, c netdev.LinkConfig) error {
	if _, err := netdev.EnsureVeth(
		netdev.VethEnd{Namespace: infra, Name: peer, MTU: c.MTU},
		netdev.VethEnd{Namespace: host, Name: dev, MTU: c.MTU}); err != nil {
		return err
	}
	if _, err := host.Configure(dev, c); err != nil {
		return err
	}
	_, err := infra.Configure(peer, netdev.LinkConfig{
		MTU: c.MTU, IPv6: netdev.IPv6Off, ARP: netdev.Down, Offloads: c.Offloads, Master: bridge, State: netdev.Up})
	return err
}

// tepDevice is the interface that has a host's TEP: the uplink itself, or, for the
// userspace datapath, the local port of br-phy.
func (l *instance) tepDevice(host string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.st.Datapaths[host] == datapathNetdev {
		return UnderlayBridge
	}
	return uplinkDevice
}

// TEPDevice is the interface of a host that has its TEP.
func (m *Manager) TEPDevice(lab, host string) (string, error) {
	st, err := m.load(lab)
	if err != nil {
		return "", err
	}
	if _, ok := st.Spec.host(host); !ok {
		return "", fmt.Errorf("lab %s: it has no host %q", lab, host)
	}
	return (&instance{m: m, name: lab, st: st}).tepDevice(host), nil
}

// ensureTEP puts the TEP on dev, which c says more of, and makes all of the
// underlay reachable.
func (l *instance) ensureTEP(ns *netdev.Namespace, h Host, dev string, c netdev.LinkConfig) error {
	c.MTU, c.IPv6, c.State = l.st.Spec.Underlay.MTU, netdev.IPv6Off, netdev.Up
	if h.TEP.Is6() {
		c.IPv6 = netdev.IPv6Static
	}
	for _, subnet := range l.st.Spec.Underlay.Subnets {
		if subnet.Contains(h.TEP) {
			c.Addresses = []netip.Prefix{netip.PrefixFrom(h.TEP, subnet.Bits())}
			break
		}
	}
	if _, err := ns.Configure(dev, c); err != nil {
		return err
	}
	for _, subnet := range l.st.Spec.Underlay.Subnets {
		// One segment, so another subnet is on the link too.
		if !subnet.Contains(h.TEP) && subnet.Addr().Is6() == h.TEP.Is6() {
			if err := ns.AddRoute(dev, subnet); err != nil {
				return err
			}
		}
	}
	return nil
}

// warm tells a host the MACs of all the others, in the kernel and, for the
// userspace datapath, in Open vSwitch, so that no tunnel's first packet is lost.
// It adds and refreshes; a warm table is never flushed.
func (l *instance) warm(ctx context.Context, h Host) error {
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, h.Name))
	if err != nil {
		return err
	}
	defer ns.Close()
	sw := l.switchOf(h.Name, ns)
	for _, peer := range l.st.Spec.Hosts {
		if peer.Name == h.Name || peer.TEP.Is6() != h.TEP.Is6() {
			continue
		}
		mac := underlayMAC(l.name, peer.Name)
		if err := ns.WarmNeighbour(l.tepDevice(h.Name), peer.TEP, mac); err != nil {
			return err
		}
		if sw.datapath != datapathNetdev {
			continue
		}
		if _, err := sw.appctl(ctx, "tnl/neigh/set", UnderlayBridge, peer.TEP.String(), mac.String()); err != nil {
			return err
		}
	}
	return nil
}

// probeTimeout bounds the proof that the underlay carries packets.
const probeTimeout = 5 * time.Second

// probeUnderlay sends a datagram from each host's TEP to the next one's, in a
// ring: the underlay works when each arrives.
func (l *instance) probeUnderlay(ctx context.Context) error {
	hosts := l.st.Spec.Hosts
	if len(hosts) < 2 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for i, h := range hosts {
		next := hosts[(i+1)%len(hosts)]
		if next.TEP.Is6() != h.TEP.Is6() {
			continue
		}
		group.Go(func() error {
			if err := l.probe(ctx, h, next); err != nil {
				return fmt.Errorf("the underlay does not carry packets from %s (%s) to %s (%s): %w", h.Name, h.TEP, next.Name, next.TEP, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (l *instance) probe(ctx context.Context, from, to Host) error {
	sender, err := l.udp(from)
	if err != nil {
		return err
	}
	defer sender.Close()
	receiver, err := l.udp(to)
	if err != nil {
		return err
	}
	defer receiver.Close()
	buf := make([]byte, 64)
	for {
		// An error here is one of the network, which may not be there yet.
		_, sendErr := sender.WriteTo([]byte(l.name), receiver.LocalAddr())
		if err := receiver.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return err
		}
		_, peer, err := receiver.ReadFrom(buf)
		if err == nil && peer.String() == sender.LocalAddr().String() {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), sendErr)
		}
	}
}

func (l *instance) udp(h Host) (conn net.PacketConn, err error) {
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, h.Name))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	err = ns.Do(func() error {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.TEP, 0)))
		return err
	})
	return conn, err
}
