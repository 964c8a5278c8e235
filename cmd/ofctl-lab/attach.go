package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/offload"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// undoTimeout bounds taking back what a failed attach did, also after an interrupt.
const undoTimeout = 10 * time.Second

// attachOptions are the flags of attach and detach.
type attachOptions struct {
	network   string
	port      string
	netns     string
	tap       bool
	addresses []string
	mac       string
	iface     string
	mtu       int
	bridge    string
	rundir    string
	timeout   time.Duration
	keep      bool
	alone     bool
	restore   bool
}

func newAttach(a *app) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach --network TENANT/NETWORK --netns NAME [--address ADDRESS]… | --restore",
		Short: "Connect a network namespace or a tap on this host to a network",
		Long: `Connect a network namespace on this host to a network: declare the port, create
the namespace and a veth pair with addresses, MTU and offloads set right, plug it
into the integration bridge, and wait until the port is up. With --tap a tap
device for a virtual machine is created instead.

A port that is declared already is attached as it is declared (then --network is
not needed). Run again it changes nothing. What a failed run created is taken back.

What was made is written down in external_ids of the switch's interface, until
detach. After a reboot, attach --restore makes it all again, without a controller;
the unit ofctl-lab-attach.service runs it at each boot.

Must run on the host itself, as root, and reach the controller.`,
		Example: `  ofctl-lab attach --network red/web --netns web1 --address 10.1.1.7
  ofctl-lab attach --network red/web --tap --port vm1
  ofctl-lab attach --restore`,
		Args: args(0, 0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.restore {
				return a.restoreCommand(cmd, o)
			}
			if err := o.checkAttach(); err != nil {
				return err
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			return a.attach(cmd.Context(), d, o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.network, "network", "", "network of the port, TENANT/NETWORK")
	fl.StringVar(&o.port, "port", "", "name of the port, also --name (default: the namespace's name)")
	fl.StringVar(&o.netns, "netns", "", "network namespace; created if it is missing")
	fl.BoolVar(&o.tap, "tap", false, "create a tap device instead of a namespace")
	fl.StringArrayVar(&o.addresses, "address", nil, "address of the port in the network; repeat for more")
	fl.StringVar(&o.mac, "mac", "", "Ethernet address (default: derived from the port's name)")
	fl.StringVar(&o.iface, "interface", "eth0", "name of the interface in the namespace")
	fl.IntVar(&o.mtu, "mtu", 0, "MTU in bytes (default: the network's)")
	fl.BoolVar(&o.restore, "restore", false, "make everything again that is attached on this host, as after a reboot")
	o.addCommonFlags(fl)
	return cmd
}

func newDetach(a *app) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "detach --netns NAME | --port PORT",
		Short: "Undo attach",
		Long: `Undo attach: first the iface-id is cleared, then the port's flows must be gone from
the switch, and only then is the switch's port deleted, because its number may be
given to another port at once. Last go the device and the port's declaration. The
namespace stays, since it may hold other things.`,
		Example: `  ofctl-lab detach --netns web1
  ofctl-lab detach --port vm1 --keep`,
		Args: args(0, 0, "flags only"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.netns == "" && o.port == "" {
				return usagef("say with --netns or --port what to detach")
			}
			if o.alone {
				return a.detach(cmd.Context(), nil, o)
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			return a.detach(cmd.Context(), d, o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.port, "port", "", "name of the port, also --name (default: the namespace's name)")
	fl.StringVar(&o.netns, "netns", "", "network namespace")
	fl.BoolVar(&o.keep, "keep", false, "keep the port's declaration")
	fl.BoolVar(&o.alone, "no-controller", false, "do not speak to the controller: neither wait for the flows to go nor delete the declaration")
	o.addCommonFlags(fl)
	return cmd
}

func (o *attachOptions) addCommonFlags(fl *pflag.FlagSet) {
	fl.StringVar(&o.bridge, "bridge", config.Default().BridgeName, "the integration bridge")
	fl.StringVar(&o.rundir, "rundir", "", "run directory of Open vSwitch (default $OVS_RUNDIR, else that of the package)")
	fl.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to wait for the controller and the switch")
	fl.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "name" {
			name = "port"
		}
		return pflag.NormalizedName(name)
	})
}

// checkAttach refuses what cannot be meant, and fills in the port's name.
func (o *attachOptions) checkAttach() error {
	if o.tap == (o.netns != "") {
		return usagef("say where: --netns NAME, or --tap")
	}
	if o.port == "" {
		o.port = o.netns
	}
	if o.port == "" {
		return usagef("--tap needs the port's name: --port NAME")
	}
	if n := o.network; n != "" && !strings.Contains(n, "/") {
		return usagef("--network %s: write TENANT/NETWORK, for example red/%s", n, n)
	}
	for _, s := range o.addresses {
		if _, err := parseAddress(s); err != nil {
			return err
		}
	}
	return o.checkTimeout()
}

func (o *attachOptions) checkTimeout() error {
	if o.timeout <= 0 {
		return usagef("--timeout %s must be positive", o.timeout)
	}
	return nil
}

// parseAddress takes an address with or without a prefix length, which the
// network's subnet knows better.
func parseAddress(s string) (netip.Addr, error) {
	host, _, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, usagef("--address %q is not an IP address, for example 10.1.1.7", s)
	}
	return a, nil
}

func (a *app) attach(ctx context.Context, d *daemon, o attachOptions) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("attach creates interfaces: run it as root")
	}
	sw := newLocalSwitch(o.rundir, o.bridge)
	offloads := netdev.OffloadsAsIs
	if !o.tap {
		// Before --timeout begins, which is for the controller and the switch.
		offloads = a.offloads(ctx, sw)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	port, created, err := d.declare(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && created {
			uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			if _, derr := d.DeletePort(uctx, o.port); derr != nil {
				err = fmt.Errorf("%w; and the declaration of port %s is still there: %w; remove it with ofctl-lab delete port %s", err, o.port, derr, o.port)
			}
		}
	}()
	at, err := d.attachment(ctx, port, o)
	if err != nil {
		return err
	}
	at.Offloads = offloads
	before, err := netdev.Namespaces()
	if err != nil {
		return err
	}
	changed, err := netdev.Attach(ctx, sw, at)
	if err != nil {
		return err
	}
	if err := sw.remember(ctx, at); err != nil {
		if len(changed) == 0 {
			return err
		}
		return errors.Join(err, takeBack(ctx, sw, at, before))
	}
	enough := api.PortStatus.Wired
	if o.tap {
		// A tap has no link before the virtual machine opens it.
		enough = func(s api.PortStatus) bool { return s.Wired() || s.State == api.StateBinding }
	}
	if err := d.awaitState(ctx, o.port, enough); err != nil {
		if len(changed) == 0 {
			return err
		}
		return errors.Join(err, takeBack(ctx, sw, at, before))
	}
	if len(changed) == 0 && !created {
		a.progress("port %s is attached already; nothing changed", o.port)
		return nil
	}
	for _, c := range changed {
		a.progress("%s", c)
	}
	if o.tap {
		a.progress("port %s is tap %s: give it to the virtual machine", o.port, at.Device())
		return nil
	}
	a.progress("port %s is up", o.port)
	return nil
}

// offloads is how the interfaces behind the bridge have to be, by a trial.
func (a *app) offloads(ctx context.Context, sw localSwitch) netdev.OffloadMode {
	kind, err := sw.datapath(ctx)
	if err != nil {
		return netdev.OffloadsOff // Attach says what is wrong with the bridge
	}
	v := offload.Try(ctx, kind)
	if !v.Tried {
		a.progress("offloads off: %s", v.Finding)
	}
	return v.Mode()
}

// takeBack undoes an attachment that did not come up; its namespace stays if it
// is one of those that were there before.
func takeBack(ctx context.Context, sw netdev.Switch, at netdev.Attachment, before []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if _, err := netdev.Detach(ctx, sw, at, nil); err != nil {
		return fmt.Errorf("taking the attachment back: %w", err)
	}
	if at.Namespace != "" && !slices.Contains(before, at.Namespace) {
		return netdev.DeleteNamespace(at.Namespace)
	}
	return nil
}

// declare declares the port unless it is, in which case the flags must not say
// otherwise. It reports whether this call created it.
func (d *daemon) declare(ctx context.Context, o attachOptions) (*api.Port, bool, error) {
	p, err := d.Port(ctx, o.port)
	switch {
	case err == nil:
		return p, false, o.agrees(p)
	case !notFound(err):
		return nil, false, d.explain(err)
	case o.network == "":
		return nil, false, usagef("port %s is not declared: say with --network TENANT/NETWORK in which network it shall be", o.port)
	}
	spec := api.PortSpec{Name: o.port, MAC: o.mac, Network: o.network, Netns: o.netns}
	if o.netns != "" {
		spec.Interface = o.iface
	}
	for _, s := range o.addresses {
		addr, err := parseAddress(s)
		if err != nil {
			return nil, false, err
		}
		spec.Addresses = append(spec.Addresses, addr)
	}
	if _, err := d.Network(ctx, o.network); notFound(err) {
		return nil, false, d.unknown(ctx, kindNetwork, o.network)
	}
	if _, err := d.PutPort(ctx, spec); err != nil {
		return nil, false, d.explain(err)
	}
	if p, err = d.Port(ctx, o.port); err != nil {
		// Nobody else knows yet that this run declared it.
		_, undo := d.DeletePort(context.WithoutCancel(ctx), o.port)
		return nil, false, errors.Join(d.explain(err), d.explain(undo))
	}
	return p, true, nil
}

// agrees is an error if the flags contradict the declared port.
func (o attachOptions) agrees(p *api.Port) error {
	clash := func(what, declared, given string) error {
		return fmt.Errorf("port %s is declared with %s %s, not %s; leave the flag out, choose another --port, or change the declaration", p.Name, what, declared, given)
	}
	if o.network != "" {
		if _, ok := partIn(p.PortSpec, o.network); !ok {
			return clash("network", portNetworks(p.PortSpec), o.network)
		}
	}
	for _, s := range o.addresses {
		addr, err := parseAddress(s)
		if err != nil {
			return err
		}
		if !slices.Contains(p.Addresses, addr) {
			return clash("address", join(p.Addresses), addr.String())
		}
	}
	if o.mac != "" && !strings.EqualFold(o.mac, p.MAC) {
		return clash("MAC", p.MAC, o.mac)
	}
	return nil
}

// attachment is how to attach the port on this host.
func (d *daemon) attachment(ctx context.Context, p *api.Port, o attachOptions) (netdev.Attachment, error) {
	w, err := d.wire(ctx, p)
	if err != nil {
		return netdev.Attachment{}, err
	}
	at := netdev.Attachment{Port: p.Name, Namespace: o.netns, MTU: cmp.Or(o.mtu, w.mtu)}
	if !o.tap {
		at.Interface, at.MAC, at.Addresses = o.iface, w.mac, w.addresses
	}
	return at, nil
}

// wire is what a declared port's guest needs on its interface.
type wire struct {
	mac       net.HardwareAddr
	mtu       int // bytes; 0 if the controller does not know it
	addresses []netip.Prefix
	vlans     []lab.VLAN // of a trunk
}

func (d *daemon) wire(ctx context.Context, p *api.Port) (wire, error) {
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		return wire{}, fmt.Errorf("port %s: the controller gave the MAC %q: %w", p.Name, p.MAC, err)
	}
	w := wire{mac: mac}
	part := func(sub api.SubPort, overhead int) ([]netip.Prefix, error) {
		n, err := d.Network(ctx, sub.Network)
		if err != nil {
			return nil, d.explain(err)
		}
		if m := n.Status.MTU - overhead; n.Status.MTU > 0 && (w.mtu == 0 || m < w.mtu) {
			w.mtu = m
		}
		var out []netip.Prefix
		for _, x := range sub.Addresses {
			out = append(out, withLength(x, n.Subnets))
		}
		return out, nil
	}
	if p.Trunk == nil {
		w.addresses, err = part(api.SubPort{Network: p.Network, Addresses: p.Addresses}, 0)
		return w, err
	}
	if n := p.Trunk.Native; n != nil {
		if w.addresses, err = part(*n, topo.TrunkOverhead); err != nil {
			return wire{}, err
		}
	}
	for _, sub := range p.Trunk.VLANs {
		addrs, err := part(sub, topo.TrunkOverhead)
		if err != nil {
			return wire{}, err
		}
		w.vlans = append(w.vlans, lab.VLAN{ID: sub.VLAN, Addresses: addrs})
	}
	return w, nil
}

// pollInterval is how often the controller is asked again while waiting.
const pollInterval = 50 * time.Millisecond

// poll asks until done says so or ctx ends, and then says what it was waiting for.
func poll(ctx context.Context, done func() (ok bool, waiting string, err error)) error {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	last := ""
	for {
		ok, waiting, err := done()
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		if waiting == "" {
			waiting = last // the time was over during the question, which says nothing
		}
		last = waiting
		select {
		case <-ctx.Done():
			if waiting == "" && err != nil {
				waiting = err.Error()
			}
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return fmt.Errorf("%w; %s", cause, waiting)
			}
			return &timeUpError{waiting}
		case <-t.C:
		}
	}
}

// timeUpError says that the time of a command was over, and for what it had waited.
type timeUpError struct{ waiting string }

func (e *timeUpError) Error() string { return "the time is up; " + e.waiting }

func (e *timeUpError) Unwrap() error { return context.DeadlineExceeded }

// awaitState waits until the port is in one of the states.
func (d *daemon) awaitState(ctx context.Context, port string, enough func(api.PortStatus) bool) error {
	return poll(ctx, func() (bool, string, error) {
		p, err := d.Port(ctx, port)
		if err != nil {
			return false, "", d.explain(err)
		}
		why := p.Status.Message
		if why == "" {
			why = "see ofctl-lab describe port " + port
		}
		return enough(p.Status), fmt.Sprintf("port %s is %s (%s)", port, p.Status.State, why), nil
	})
}

func (a *app) detach(ctx context.Context, d *daemon, o attachOptions) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if os.Geteuid() != 0 {
		return errors.New("detach deletes interfaces: run it as root")
	}
	if o.port == "" {
		o.port = o.netns
		if d != nil {
			name, err := d.portIn(ctx, o.netns)
			if err != nil {
				return err
			}
			o.port = name
		}
	}
	at := netdev.Attachment{Port: o.port, Namespace: o.netns}
	var flowsGone func(context.Context) error
	if d != nil {
		flowsGone = func(ctx context.Context) error {
			here, err := ovsShell{rundir: o.rundir}.externalIDs(ctx)
			if err != nil {
				return err
			}
			return d.awaitUnbound(ctx, o.port, api.Claim{Host: here[hostKey], InterfaceName: at.Device()})
		}
	}
	changed, err := netdev.Detach(ctx, newLocalSwitch(o.rundir, o.bridge), at, flowsGone)
	for _, c := range changed {
		a.progress("%s", c)
	}
	if err != nil {
		return err
	}
	deleted := false
	if d != nil && !o.keep {
		if p, err := d.Port(ctx, o.port); err == nil && len(changed) == 0 && p.Status.Host != "" {
			return fmt.Errorf("nothing is attached for port %s here; it is interface %s of host %s, so its declaration stays: detach it there, or use ofctl-lab delete port %s", o.port, p.Status.InterfaceName, p.Status.Host, o.port)
		}
		switch _, err := d.DeletePort(ctx, o.port); {
		case err == nil:
			deleted = true
			a.progress("port %s deleted", o.port)
		case !notFound(err):
			return d.explain(err)
		}
	}
	if len(changed) == 0 && !deleted {
		return fmt.Errorf("nothing is attached for port %s on this host; see ofctl-lab get ports", o.port)
	}
	return nil
}

// portIn is the port declared for a namespace, the namespace's own name if none is.
func (d *daemon) portIn(ctx context.Context, netns string) (string, error) {
	ports, err := d.Ports(ctx)
	if err != nil {
		return "", d.explain(err)
	}
	for _, p := range ports {
		if p.Name == netns {
			return netns, nil
		}
	}
	var found []string
	for _, p := range ports {
		if p.Netns == netns {
			found = append(found, p.Name)
		}
	}
	switch len(found) {
	case 0:
		return netns, nil
	case 1:
		return found[0], nil
	}
	return "", usagef("several ports are declared for namespace %s (%s): choose one with --port", netns, strings.Join(found, ", "))
}

// awaitUnbound waits until the interface does not claim the port any more, and
// every connected switch has confirmed the revision in which that is so.
func (d *daemon) awaitUnbound(ctx context.Context, port string, by api.Claim) error {
	same := func(host, dev string) bool { return host == by.Host && dev == by.InterfaceName }
	err := poll(ctx, func() (bool, string, error) {
		p, err := d.Port(ctx, port)
		if notFound(err) {
			return true, "", nil
		}
		if err != nil {
			return false, "", d.explain(err)
		}
		claimed := same(p.Status.Host, p.Status.InterfaceName) || slices.ContainsFunc(p.Status.Rivals, func(c api.Claim) bool { return same(c.Host, c.InterfaceName) })
		return !claimed, fmt.Sprintf("the controller still sees interface %s of host %s as port %s", by.InterfaceName, by.Host, port), nil
	})
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	wait := max(time.Until(deadline), pollInterval)
	w, err := d.Wait(ctx, 0, wait)
	if err != nil {
		return d.explain(err)
	}
	return pending(w, wait)
}
