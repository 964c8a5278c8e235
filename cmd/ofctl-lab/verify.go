package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	sourceOptions
	raw  bool
	wait time.Duration
}

func newVerify(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify [HOST…]",
		Short: "Prove that no tenant's packet can reach another's port",
		Long: `Prove, over all flows and groups that the switches hold, whoever put them there, that
no tenant's packet can reach another's port: for every packet there can be, not for a
sample. Held are

  isolation   no packet reaches a port of another network, and none of no network any
  membership  a (port, VLAN) and a tunnel key are of one network at most
  key         nothing leaves by a tunnel but under its network's key, to another host
  loop        nothing that came by a tunnel leaves by one
  duplicate   no port gets a packet twice, and no sender its own
  undeclared  no packet is taken by a flow that breaks the declarations of the tables

What breaks one is shown by a packet, and its way as 'trace' shows it. What cannot be
decided (a flow that cannot be read, an action that is not reasoned about, a host that
does not answer) is said, and then nothing counts as proved.

Each host is proved by itself: from its ports to its tunnels, and from the keys of its
tunnels to its ports. HOST… limits the proof to some.

The flows are read from the switches for this answer, once they have confirmed the
newest revision; if the overlay changes meanwhile they are read again. --planned takes
those that the controller compiles instead, before any switch has them, and --dump
files, as for 'trace'.

Exit status: 0 proved, 3 a packet breaks a property, 1 it could not be decided.`,
		Example: `  ofctl-lab verify
  ofctl-lab verify host1 -o json
  ofctl-lab verify --planned
  ofctl-lab verify -f configs/topologies/two-hosts.yaml --dump host1=host1.flows --dump host2=host2.flows`,
		Args: args(0, -1, "HOST…"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return a.verify(cmd, o, args)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().DurationVar(&o.wait, "wait", 10*time.Second, "how long to wait for the switches to confirm the newest revision, 0s…10m")
	cmd.Flags().BoolVar(&o.raw, "raw", false, "also the flows as ovs-ofctl prints them")
	addFormatFlag(cmd, "json and yaml hold all that --raw shows")
	return cmd
}

func (o *verifyOptions) check() error {
	if o.wait < 0 || o.wait > 10*time.Minute {
		return usagef("--wait %s is not in 0s…10m", o.wait)
	}
	return o.sourceOptions.check()
}

func (a *app) verify(cmd *cobra.Command, o verifyOptions, hosts []string) error {
	p, err := a.picture(cmd, o, hosts)
	if err != nil {
		return err
	}
	v, err := explain.Verify(cmd.Context(), p.overlay, p.read, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	v.Source, v.Revision = p.source, p.revision
	if len(o.dumps) > 0 {
		v.Trusts = []string{"which port and tunnel has which number on a host, and a key that the controller chose, are as the flows themselves say"}
	}
	if err := a.emit(v, func(t *tables, f format) { printVerification(t, v, o.raw) }); err != nil {
		return err
	}
	switch v.Verdict {
	case explain.Isolated:
		return nil
	case explain.Violated:
		return statusError{status: exitDiffer}
	}
	return statusError{status: exitFailed, err: errors.New("isolation is not proved: the lines above say what could not be decided")}
}

// picture is an overlay and what its switches hold, at one time.
type picture struct {
	overlay  *explain.Overlay
	read     map[string]explain.Reading
	source   string
	revision uint64
}

// maxPictures is how often the hosts are read when the overlay changes meanwhile.
const maxPictures = 5

func (a *app) picture(cmd *cobra.Command, o verifyOptions, hosts []string) (*picture, error) {
	if len(o.dumps) > 0 {
		overlay, s, err := a.offline(o.sourceOptions)
		if err != nil {
			return nil, err
		}
		return take(cmd.Context(), overlay, s, hosts)
	}
	d, err := a.daemon(cmd)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	first := uint64(0)
	for range maxPictures {
		p, same, err := d.picture(cmd.Context(), o, hosts)
		if err != nil || same {
			return p, err
		}
		first = max(first, p.revision)
	}
	return nil, fmt.Errorf("the overlay changed each of the %d times that its switches were read, last from revision %d on: a mixture of two revisions proves nothing. Try again when it is quieter, or with --planned, which reads faster", maxPictures, first)
}

// picture reads the hosts once, and reports whether the overlay was the same all the while.
func (d *daemon) picture(ctx context.Context, o verifyOptions, hosts []string) (p *picture, same bool, err error) {
	if !o.planned {
		// What this could not wait for the flows show: hosts of an older revision.
		if _, err := d.Wait(ctx, 0, o.wait); err != nil {
			return nil, false, d.explain(err)
		}
	}
	before, err := d.Status(ctx)
	if err != nil {
		return nil, false, d.explain(err)
	}
	s := newOnlineSource(d, o.planned)
	overlay, err := s.overlay(ctx)
	if err != nil {
		return nil, false, err
	}
	if p, err = take(ctx, overlay, s, hosts); err != nil {
		return nil, false, err
	}
	after, err := d.Status(ctx)
	if err != nil {
		return nil, false, d.explain(err)
	}
	p.revision = before.Revision
	return p, before.Revision == after.Revision, nil
}

// take reads the hosts, all if none is named.
func take(ctx context.Context, overlay *explain.Overlay, s flowSource, hosts []string) (*picture, error) {
	var all []string
	for _, h := range overlay.Hosts {
		all = append(all, h.Name)
	}
	for _, h := range hosts {
		if !slices.Contains(all, h) {
			return nil, fmt.Errorf("there is no host %q; %s", h, meant(h, all))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no host, so there is nothing to verify: declare hosts in the topology file")
	}
	if len(hosts) == 0 {
		hosts = all
	}
	p := &picture{overlay: overlay, read: map[string]explain.Reading{}, source: s.name()}
	read, errs := readHosts(ctx, s, hosts)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, h := range hosts {
		p.read[h] = explain.Reading{Tables: read[i], Err: errs[i]}
	}
	return p, nil
}
