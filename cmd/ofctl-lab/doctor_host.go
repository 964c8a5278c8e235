package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// The external_ids by which a host that has joined knows who it is.
const (
	hostKey = "ofctl-lab-host"
	tepKey  = "ofctl-lab-tep"
)

// ovsShell runs Open vSwitch's own commands on this host.
type ovsShell struct{ rundir string }

// maxOVSOutput bounds what an ovs-vsctl command may print, in bytes.
const maxOVSOutput = 1 << 20

func (s ovsShell) installed() error {
	for _, p := range []string{"ovs-vsctl", "ovs-appctl"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not installed", p)
		}
	}
	return nil
}

// vsctl runs ovs-vsctl and returns its output, without the quotes if that is a
// single string; the error is what it complained.
func (s ovsShell) vsctl(ctx context.Context, args ...string) (string, error) {
	text, err := s.output(ctx, "ovs-vsctl", args...)
	if u, uerr := strconv.Unquote(text); err == nil && uerr == nil {
		text = u
	}
	return text, err
}

// version is what the running ovs-vswitchd says of itself.
func (s ovsShell) version(ctx context.Context) (string, error) {
	text, err := s.output(ctx, "ovs-appctl", "version")
	first, _, _ := strings.Cut(text, "\n")
	return first, err
}

func (s ovsShell) output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"--timeout=5"}, args...)...)
	cmd.Env = os.Environ()
	if s.rundir != "" {
		cmd.Env = append(cmd.Env, "OVS_RUNDIR="+s.rundir)
	}
	out, err := cmd.Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) && len(ee.Stderr) > 0 {
			return "", errors.New(lastLine(string(ee.Stderr)))
		}
		return "", fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	if len(out) > maxOVSOutput {
		return "", fmt.Errorf("%s %s printed over %d bytes", program, strings.Join(args, " "), maxOVSOutput)
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// externalIDs are those of the Open_vSwitch table.
func (s ovsShell) externalIDs(ctx context.Context) (map[string]string, error) {
	text, err := s.vsctl(ctx, "get", "Open_vSwitch", ".", "external_ids")
	if err != nil {
		return nil, err
	}
	return parseMap(text), nil
}

// parseMap reads a map as ovs-vsctl prints it: {a=b, c="d e"}. What it cannot
// read is left out.
func parseMap(text string) map[string]string {
	m := map[string]string{}
	rest := strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	for rest != "" {
		var k, v string
		k, rest = parseAtom(rest, '=')
		v, rest = parseAtom(rest, ',')
		m[k] = v
		rest = strings.TrimLeft(rest, " ")
	}
	return m
}

// parseAtom takes an atom, quoted or not, off the front of s, and the separator after it.
func parseAtom(s string, sep byte) (atom, rest string) {
	if strings.HasPrefix(s, `"`) {
		if q, err := strconv.QuotedPrefix(s); err == nil {
			if atom, err = strconv.Unquote(q); err == nil {
				return atom, strings.TrimPrefix(s[len(q):], string(sep))
			}
		}
	}
	atom, rest, _ = strings.Cut(s, string(sep))
	return atom, rest
}

// statusInterval is how long Open vSwitch may take to write down that a
// connection has come up: it does so every five seconds.
const statusInterval = 6 * time.Second

// connection is the target of a connection of the table Manager or Controller,
// the latter of a bridge, and what is wrong with it. One that is not connected is
// looked at again until its state must have been written down anew. An empty
// target means that there is none.
func (s ovsShell) connection(ctx context.Context, table, bridge string) (target, errText string) {
	ctx, cancel := context.WithTimeout(ctx, statusInterval)
	defer cancel()
	t := time.NewTicker(statusInterval / 12)
	defer t.Stop()
	for {
		now, text := s.connectionNow(ctx, table, bridge)
		if ctx.Err() != nil {
			return target, errText
		}
		if target, errText = now, text; errText == "" {
			return target, errText
		}
		select {
		case <-ctx.Done():
			return target, errText
		case <-t.C:
		}
	}
}

// connectionNow is connection, as it is written down now. Of several the first
// that is connected counts.
func (s ovsShell) connectionNow(ctx context.Context, table, bridge string) (target, errText string) {
	column := []string{"get", "Open_vSwitch", ".", "manager_options"}
	if table == "Controller" {
		column = []string{"get", "Bridge", bridge, "controller"}
	}
	uuids, err := s.vsctl(ctx, column...)
	if err != nil {
		return "", ""
	}
	for id := range strings.FieldsFuncSeq(uuids, func(r rune) bool { return strings.ContainsRune("[], ", r) }) {
		t, err := s.vsctl(ctx, "get", table, id, "target")
		if err != nil {
			continue
		}
		up, err := s.vsctl(ctx, "get", table, id, "is_connected")
		if err == nil && up == "true" {
			return t, ""
		}
		target, errText = t, "not connected"
		if st, err := s.vsctl(ctx, "get", table, id, "status"); err == nil {
			if e := parseMap(st)["last_error"]; e != "" {
				errText = e
			}
		}
	}
	return target, errText
}

// kernelModule reports whether the kernel's datapath of Open vSwitch is there,
// as a module or built in.
func kernelModule() bool {
	_, err := os.Stat("/sys/module/openvswitch")
	return err == nil
}

// minUnderlay is the MTU of the underlay with which guests of every
// encapsulation over IPv6 still have the 1,280 bytes that IPv6 needs; below
// usualMTU guests have to be told a smaller one than they expect.
const (
	minUnderlay = 1350
	usualMTU    = 1500
)

func (c *checkup) checkTEP() {
	const check = "tunnel endpoint"
	if c.tep == "" {
		return
	}
	ifaces, err := net.Interfaces()
	if err != nil {
		c.fail(check, err.Error(), "are you root?")
		return
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.String() != c.tep {
				continue
			}
			ones, _ := n.Mask.Size()
			c.tepLink, c.tepBits = i, ones
			switch {
			case i.Flags&net.FlagUp == 0:
				c.fail(check, fmt.Sprintf("%s is on %s, which is down", c.tep, i.Name), "ip link set "+i.Name+" up")
			case i.MTU < minUnderlay:
				c.fail(check, fmt.Sprintf("MTU of %s is %d: too small for guests with IPv6 inside a tunnel", i.Name, i.MTU), fmt.Sprintf("ip link set %s mtu %d", i.Name, usualMTU))
			case i.MTU < usualMTU:
				c.warn(check, fmt.Sprintf("%s on %s with MTU %d: guests need a smaller MTU than usual", c.tep, i.Name, i.MTU), "give the same underlay.mtu in the topology file; guests' MTU is derived from it")
			default:
				c.ok(check, "%s on %s, MTU %d", c.tep, i.Name, i.MTU)
			}
			return
		}
	}
	c.fail(check, c.tep+" is on no interface of this host, so other hosts' tunnels end nowhere", "ip address add "+c.tep+"/PREFIX dev DEVICE\nor join again with the right --tep")
}
