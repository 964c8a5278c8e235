package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// checkUDPPorts finds what has the tunnels' UDP ports besides Open vSwitch: a program's
// socket, or a tunnel device of the kernel that somebody else has made.
func (c *checkup) checkUDPPorts() {
	here, err := netdev.CurrentNamespace()
	if err != nil {
		c.fail(checkPorts, err.Error(), "run doctor as root")
		return
	}
	defer here.Close()
	c.checkUDPPortsOf(here)
}

const checkPorts = "udp ports"

func (c *checkup) checkUDPPortsOf(here *netdev.Namespace) {
	const check = checkPorts
	taken := false
	for _, p := range []struct {
		encap, kind, own string
		port             uint16
	}{{"VXLAN", "vxlan", "vxlan_sys_", c.vxlan}, {"Geneve", "geneve", "genev_sys_", c.geneve}} {
		setting := fmt.Sprintf("choose another port with %s.port in the controller's configuration", strings.ToLower(p.encap))
		var inodes []string
		err := here.Do(func() (err error) {
			inodes, err = udpSockets(p.port)
			return err
		})
		if err != nil {
			c.fail(check, err.Error(), "run doctor as root")
			return
		}
		owners, err := socketOwners(inodes)
		if err != nil {
			c.warn(check, fmt.Sprintf("something has a socket on UDP port %d, that of %s, and whose it is cannot be seen: %v", p.port, p.encap, err), "run doctor as root")
			taken = true
			continue
		}
		for _, owner := range owners {
			taken = true
			c.fail(check, fmt.Sprintf("%s has a socket on UDP port %d, that of %s", owner, p.port, p.encap), "stop it, or "+setting)
		}
		tunnels, err := here.Tunnels()
		if err != nil {
			c.fail(check, err.Error(), "run doctor as root")
			return
		}
		for _, t := range tunnels {
			if t.Kind != p.kind || t.Port != p.port || strings.HasPrefix(t.Name, p.own) {
				continue
			}
			taken = true
			c.fail(check, fmt.Sprintf("the interface %s, which is not Open vSwitch's, has UDP port %d, that of %s", t.Name, p.port, p.encap),
				fmt.Sprintf("ip link del %s   (if nothing needs it)\nor %s", t.Name, setting))
		}
	}
	if !taken {
		c.ok(check, "%d (VXLAN) and %d (Geneve) are free of other programs", c.vxlan, c.geneve)
	}
}

// udpSockets are the inodes of the sockets on the UDP port in the calling thread's
// network namespace. The kernel's own, of its tunnels, have one too.
func udpSockets(port uint16) ([]string, error) {
	var inodes []string
	suffix := fmt.Sprintf(":%04X", port)
	for _, file := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			fields := strings.Fields(sc.Text())
			if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) {
				inodes = append(inodes, fields[9])
			}
		}
		if err := errors.Join(sc.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return inodes, nil
}

// socketOwners are the programs that have one of these sockets open. A socket that no
// program has open is the kernel's. The error says that not all programs could be
// asked, and that a socket may be that of one of them.
func socketOwners(inodes []string) ([]string, error) {
	if len(inodes) == 0 {
		return nil, nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var (
		owners []string
		unseen error
	)
	for _, dir := range dirs {
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if errors.Is(err, fs.ErrPermission) {
			unseen = err
		}
		// Any other error is that of a process which has ended meanwhile.
		for _, fd := range fds {
			link, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			inode, is := strings.CutPrefix(link, "socket:[")
			if err != nil || !is || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
				continue
			}
			name, _ := os.ReadFile(filepath.Join(dir, "comm"))
			owners = append(owners, fmt.Sprintf("the program %s (process %s)", strings.TrimSpace(string(name)), filepath.Base(dir)))
			break
		}
	}
	if len(owners) > 0 {
		return owners, nil
	}
	return nil, unseen
}
