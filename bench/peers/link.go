package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// subnet is where links get their addresses: that for benchmarks (RFC 2544), two for each.
var subnet = netip.MustParsePrefix("198.18.0.0/15")

// farName is the device in the program's namespace.
const farName = "bench0"

// link is a veth between this namespace and a program's.
type link struct {
	near string
	far  netip.Addr // of the program's end
}

// join makes the link to the namespace of the process pid and brings up both of its ends, and
// the loopback device there.
func join(pid int) (*link, error) {
	l := &link{near: "peer" + strconv.Itoa(pid)}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: l.near}, PeerName: farName, PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("add a veth between the namespaces: %w", err)
	}
	if err := l.setUp(pid); err != nil {
		return nil, errors.Join(err, l.remove())
	}
	return l, nil
}

func (l *link) setUp(pid int) error {
	near, err := netlink.LinkByName(l.near)
	if err != nil {
		return fmt.Errorf("device %s: %w", l.near, err)
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring up the loopback device of process %d: %w", pid, err)
	}
	far, err := h.LinkByName(farName)
	if err != nil {
		return fmt.Errorf("device %s of process %d: %w", farName, pid, err)
	}
	here, there := addresses(near.Attrs().Index)
	l.far = there
	root, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := address(root, near, here); err != nil {
		return err
	}
	return address(h, far, there)
}

// addresses are two of the subnet that no other device of this namespace has: its number, which
// the kernel gives once, chooses them.
func addresses(device int) (here, there netip.Addr) {
	base := subnet.Addr().As4()
	n := 2 * (device % (1 << 16))
	base[1] += byte(n >> 16)
	base[2], base[3] = byte(n>>8), byte(n)
	here = netip.AddrFrom4(base)
	return here, here.Next()
}

// address gives a device one of two addresses (RFC 3021) and brings it up.
func address(h *netlink.Handle, dev netlink.Link, a netip.Addr) error {
	ip := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(31, 32)}
	err := h.AddrAdd(dev, &netlink.Addr{IPNet: ip})
	if err == nil {
		err = h.LinkSetUp(dev)
	}
	if err != nil {
		return fmt.Errorf("device %s: address %v: %w", dev.Attrs().Name, ip, err)
	}
	return nil
}

// remove removes the link; one that went with the other namespace is no error.
func (l *link) remove() error {
	dev, err := netlink.LinkByName(l.near)
	if err == nil {
		err = netlink.LinkDel(dev)
	}
	var gone netlink.LinkNotFoundError
	if err == nil || errors.As(err, &gone) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove device %s: %w", l.near, err)
}

// listens reports whether a TCP socket in the namespace of the process pid listens on port
// (proc_net_tcp in the kernel's documentation: state 0A).
func listens(pid int, port uint16) (bool, error) {
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return false, err
		}
		for line := range bytes.Lines(text) {
			fields := strings.Fields(string(line))
			if len(fields) > 3 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				return true, nil
			}
		}
	}
	return false, nil
}
