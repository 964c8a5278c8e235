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
	"syscall"
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
	unlock, err := sw.lock(ctx, syscall.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
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
