package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
)

// finding is the result of one check of doctor.
type finding struct {
	Check   string `json:"check"`
	Result  string `json:"result"` // ok, warn or fail
	Finding string `json:"finding"`
	Fix     string `json:"fix,omitempty"`
}

const (
	resultOK   = "ok"
	resultWarn = "warn"
	resultFail = "fail"
)

// doctorTimeout bounds all checks together.
const doctorTimeout = time.Minute

func newDoctor(a *app) *cobra.Command {
	var bridge, rundir, datapath string
	var probe bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this host, and say how to repair what is wrong",
		Long: `Check this host, and say how to repair what is wrong: is Open vSwitch there and
which datapath can it use, has the host joined and are its connections up, is the
bridge such that a lost controller cannot turn it into a leak (fail_mode=secure),
does it run on the datapath that was intended, is there a way to each other host,
is the tunnel endpoint on this host, on an interface that suits the datapath, and
its MTU large enough, is a UDP port of a tunnel taken, are checksum offloads off
where the datapath cannot take them, and what does the datapath say that it cannot do.

Changes nothing: what a datapath does with offloads is tried on one of its own, in
namespaces that go with it. Needs root, and no controller. Exit status 1 if a
check fails.

With --probe the checks are left out, and what a datapath does is tried with packets,
on a bridge of an Open vSwitch that is started for it in a network namespace of its
own and leaves nothing behind. It takes about a minute. Exit status 1 if something is
missing that the pipeline needs. With -o json it prints a report as in
docs/reference/datapaths.`,
		Example: `  ofctl-lab doctor
  ofctl-lab doctor -o json
  ofctl-lab doctor --probe`,
		Args: args(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case probe:
				return a.probeDatapath(cmd.Context(), datapathProbe{datapath, bridge, rundir})
			case datapath != "":
				return usagef("--datapath goes with --probe")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			c := checkup{ovs: ovsShell{rundir: rundir}, bridge: bridge, vxlan: config.Default().VXLANPort, geneve: config.Default().GenevePort}
			c.run(ctx)
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("the checks did not end within %s: %w; is ovsdb-server or ovs-vswitchd stuck?", doctorTimeout, err)
			}
			if err := a.emit(c.findings, func(t *tables, _ format) { printFindings(t, c.findings) }); err != nil {
				return err
			}
			for _, f := range c.findings {
				if f.Result == resultFail {
					return statusError{status: exitFailed}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&bridge, "bridge", config.Default().BridgeName, "the integration bridge")
	cmd.Flags().BoolVar(&probe, "probe", false, "try with packets what the datapath does, on a bridge of its own")
	cmd.Flags().StringVar(&datapath, "datapath", "", "with --probe: the datapath type, system or netdev (default that of the integration bridge)")
	cmd.Flags().StringVar(&rundir, "rundir", "", "run directory of Open vSwitch (default $OVS_RUNDIR, else that of the package)")
	addOutputFlag(cmd)
	return cmd
}

func printFindings(t *tables, l []finding) {
	rows := make([][]string, 0, len(l))
	for _, f := range l {
		rows = append(rows, []string{f.Result, f.Check, f.Finding})
	}
	t.table([]string{"RESULT", "CHECK", "FINDING"}, rows)
	for _, f := range l {
		if f.Fix != "" {
			t.gap()
			t.line("%s: %s", f.Check, clean(f.Finding))
			for line := range strings.SplitSeq(f.Fix, "\n") {
				t.line("  %s", clean(line))
			}
		}
	}
}

// checkup is one run of all checks.
type checkup struct {
	ovs           ovsShell
	bridge        string
	vxlan, geneve uint16
	findings      []finding

	// Found on the way, for later checks.
	tep      string
	tepLink  net.Interface // which has the TEP
	tepBits  int           // of its subnet's prefix
	joined   bool
	userland bool   // the bridge's datapath is the userspace one
	types    string // of datapaths, that Open vSwitch was built for
}

func (c *checkup) ok(check, format string, args ...any) {
	c.findings = append(c.findings, finding{Check: check, Result: resultOK, Finding: fmt.Sprintf(format, args...)})
}

func (c *checkup) warn(check, what, fix string) {
	c.findings = append(c.findings, finding{Check: check, Result: resultWarn, Finding: what, Fix: fix})
}

func (c *checkup) fail(check, what, fix string) {
	c.findings = append(c.findings, finding{Check: check, Result: resultFail, Finding: what, Fix: fix})
}

// run makes the checks in an order in which each relies on those before it.
func (c *checkup) run(ctx context.Context) {
	if !c.checkOpenVSwitch(ctx) {
		return
	}
	c.checkDatapath(ctx)
	c.checkJoined(ctx)
	c.checkTEP()
	c.checkUDPPorts()
	if !c.checkBridge(ctx) {
		return
	}
	if !c.checkDatapathType(ctx) {
		return // nothing that is said of its datapath would be true
	}
	c.checkUnderlay(ctx)
	c.checkInterfaces(ctx)
	c.checkPeers(ctx)
	c.checkOffloads(ctx)
	c.checkFeatures(ctx)
}

func (c *checkup) checkOpenVSwitch(ctx context.Context) bool {
	const check = "open vswitch"
	if err := c.ovs.installed(); err != nil {
		c.fail(check, err.Error(), "apt-get install openvswitch-switch")
		return false
	}
	if _, err := c.ovs.vsctl(ctx, "get", "Open_vSwitch", ".", "_uuid"); err != nil {
		c.fail(check, "ovsdb-server does not answer: "+err.Error(), "systemctl start openvswitch-switch\n(as root; for an Open vSwitch elsewhere give --rundir)")
		return false
	}
	v, err := c.ovs.version(ctx)
	if err != nil {
		c.fail(check, "ovsdb-server runs, ovs-vswitchd does not answer: "+err.Error(), "systemctl restart openvswitch-switch")
		return false
	}
	c.ok(check, "%s answers", v)
	return true
}

func (c *checkup) checkDatapath(ctx context.Context) {
	const check = "datapath"
	types, err := c.ovs.vsctl(ctx, "get", "Open_vSwitch", ".", "datapath_types")
	if err != nil {
		c.fail(check, err.Error(), "is ovs-vswitchd running?")
		return
	}
	c.types = types
	loaded := kernelModule()
	switch {
	case loaded:
		c.ok(check, "kernel module openvswitch is loaded; types %s", types)
	case strings.Contains(types, "netdev"):
		c.warn(check, "no kernel module openvswitch: bridges use the userspace datapath (netdev), which is slower and, in Open vSwitch 3.1, may go on forwarding as it did before a change",
			"modprobe openvswitch\nIf this kernel has no such module: ovs-appctl upcall/disable-megaflows, each time that ovs-vswitchd has started")
	default:
		c.fail(check, "neither the kernel module openvswitch nor the userspace datapath; types "+types, "modprobe openvswitch")
	}
}

func (c *checkup) checkJoined(ctx context.Context) {
	const check = "joined"
	ids, err := c.ovs.externalIDs(ctx)
	if err != nil {
		c.fail(check, err.Error(), "is ovsdb-server running?")
		return
	}
	host, tep := ids[hostKey], ids[tepKey]
	if host == "" || tep == "" {
		c.warn(check, "this host has not joined a controller", "run here what this prints on the controller's machine:\nofctl-lab host join-command NAME --tep ADDRESS")
		return
	}
	c.joined, c.tep = true, tep
	c.ok(check, "as %s with tunnel endpoint %s", host, tep)
	target, errText := c.ovs.connection(ctx, "Manager", "")
	switch {
	case target == "":
		c.fail("ovsdb", "no manager is set, so the controller cannot see this host", "run the output of ofctl-lab host join-command again")
	case errText != "":
		c.fail("ovsdb", "not connected to the controller at "+target+": "+errText, "is ofctl-lab controller running there, and does a firewall let its OVSDB port through?\nofctl-lab get hosts   (on the controller's machine)")
	default:
		c.ok("ovsdb", "connected to %s", target)
	}
	if target != "" {
		c.checkManager(ctx, target)
	}
}

// checkBridge reports whether the bridge is there.
func (c *checkup) checkBridge(ctx context.Context) bool {
	const check = "bridge"
	if _, err := c.ovs.vsctl(ctx, "br-exists", c.bridge); err != nil {
		if c.joined {
			c.fail(check, "there is no bridge "+c.bridge, "the controller creates it when the host is connected: see the checks above, and ofctl-lab describe host NAME")
		} else {
			c.warn(check, "there is no bridge "+c.bridge, "the controller creates it when the host joins")
		}
		return false
	}
	mode, err := c.ovs.vsctl(ctx, "get", "Bridge", c.bridge, "fail_mode")
	switch {
	case err != nil:
		c.fail("fail mode", err.Error(), "is ovs-vswitchd running?")
	case mode != "secure":
		c.fail("fail mode", fmt.Sprintf("fail_mode of %s is %s: without a controller the bridge becomes a learning switch and joins all tenants", c.bridge, mode), "ovs-vsctl set-fail-mode "+c.bridge+" secure")
	default:
		c.ok("fail mode", "secure")
	}
	proto, err := c.ovs.vsctl(ctx, "get", "Bridge", c.bridge, "protocols")
	switch {
	case err != nil:
		c.fail("openflow", err.Error(), "is ovs-vswitchd running?")
		return true
	case !strings.Contains(proto, "OpenFlow13"):
		c.fail("openflow", fmt.Sprintf("%s offers %s, not OpenFlow 1.3", c.bridge, proto), "ovs-vsctl set bridge "+c.bridge+" protocols=OpenFlow13")
	}
	target, errText := c.ovs.connection(ctx, "Controller", c.bridge)
	switch {
	case target == "":
		c.fail("openflow", c.bridge+" has no controller", "the controller sets it when OVSDB is connected: see the check ovsdb")
	case errText != "":
		c.fail("openflow", "not connected to the controller at "+target+": "+errText, "is ofctl-lab controller running there, and does a firewall let its OpenFlow port through?")
	default:
		c.ok("openflow", "connected to %s", target)
	}
	if dp, err := c.ovs.vsctl(ctx, "get", "Bridge", c.bridge, "datapath_type"); err == nil {
		c.userland = dp == "netdev"
	}
	return true
}

// checkInterfaces shows what ovs-vswitchd itself complains about.
func (c *checkup) checkInterfaces(ctx context.Context) {
	const check = "interfaces"
	names, err := c.ovs.vsctl(ctx, "list-ifaces", c.bridge)
	if err != nil {
		c.fail(check, err.Error(), "is ovs-vswitchd running?")
		return
	}
	bad := 0
	all := strings.Fields(names)
	// One command for all: on a slow machine each takes a second.
	var command []string
	for _, name := range all {
		command = append(command, "--", "--if-exists", "get", "Interface", name, "name", "error")
	}
	text := ""
	if len(all) > 0 {
		if text, err = c.ovs.output(ctx, "ovs-vsctl", command...); err != nil {
			c.fail(check, err.Error(), "is ovs-vswitchd running?")
			return
		}
	}
	for lines := strings.Split(text, "\n"); len(lines) > 1; lines = lines[2:] {
		if lines[1] == "[]" {
			continue
		}
		bad++
		name, text := strings.Trim(lines[0], `"`), strings.Trim(lines[1], `"`)
		fix := "if the device is gone: ovs-vsctl del-port " + c.bridge + " " + name
		if ids, err := c.ovs.vsctl(ctx, "get", "Interface", name, "external_ids"); err == nil && parseMap(ids)[attachKey] != "" {
			fix = "ofctl-lab attach --restore\nso that it comes back at each boot: systemctl enable ofctl-lab-attach.service"
		}
		c.fail(check, name+": "+text, fix)
	}
	if bad == 0 {
		c.ok(check, "%d on %s, none with an error", len(all), c.bridge)
	}
}
