package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

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
	sw := newLocalSwitch(o.rundir, o.bridge)
	unlock, err := sw.lock(ctx, syscall.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	changed, err := netdev.Detach(ctx, sw, at, flowsGone)
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
