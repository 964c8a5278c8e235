package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// downTimeout bounds taking down a lab that did not come up.
const downTimeout = 20 * time.Second

// guestTimeout is how long a lab with virtual machines may take, if nothing else
// is said: under TCG some need minutes to boot.
const guestTimeout = 10 * time.Minute

type upOptions struct {
	timeout time.Duration
	keep    bool
	accel   string
}

func newLabUp(a *app) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up FILE",
		Short: "Build the lab of a topology file",
		Long: `Build the lab of a topology file: start its controller and its hosts, let the hosts
join, apply the topology, attach the guests, and wait until every port is up and
every virtual machine gives its sign of readiness on the network.

The lab's controller takes its settings from the environment, and its hosts the type
of their datapath (OFCTL_LAB_BRIDGE_DATAPATH_TYPE=netdev for the userspace one).

Run again it completes what is missing, and with a changed file it applies the
difference. If it fails or is interrupted, a lab that was not there before is
removed again.`,
		Example: `  ofctl-lab lab up configs/topologies/two-hosts.yaml
  ofctl-lab lab up --keep-on-failure --timeout 2m configs/topologies/two-hosts.yaml`,
		Args: args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.timeout <= 0 {
				return usagef("--timeout %s must be positive", o.timeout)
			}
			t, err := a.readTopology(args[0])
			if err != nil {
				return err
			}
			spec, err := labSpec(t)
			if err != nil {
				return err
			}
			// The settings that the lab's controller is started with.
			c, err := config.Load(nil)
			if err != nil {
				return usageError{err}
			}
			for i := range spec.Hosts {
				spec.Hosts[i].Datapath = c.DatapathType
			}
			if !slices.Contains(accels, o.accel) {
				return usagef("--accel %q is none of %s", o.accel, strings.Join(accels, ", "))
			}
			if os.Geteuid() != 0 {
				return errors.New("a lab is made of network namespaces: run lab up as root")
			}
			if len(spec.Machines) > 0 && !cmd.Flags().Changed("timeout") {
				o.timeout = guestTimeout
			}
			return a.labUp(cmd.Context(), t, spec, o)
		},
	}
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "how long the lab may take until all is up (10m with virtual machines)")
	addAccelFlag(cmd, &o.accel)
	cmd.Flags().BoolVar(&o.keep, "keep-on-failure", false, "leave a lab that did not come up as it is, for a look")
	addOutputFlag(cmd)
	return cmd
}

func (a *app) labUp(ctx context.Context, t *topology, spec lab.Spec, o upOptions) error {
	begun := time.Now()
	m := a.labs()
	_, err := m.Spec(spec.Name)
	fresh := errors.Is(err, lab.ErrNoLab)
	if err != nil && !fresh {
		return err
	}
	up, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("not done within --timeout %s", o.timeout))
	defer cancel()
	ports, err := a.bringUp(up, m, t, spec, o)
	if err != nil {
		if !fresh {
			return err
		}
		if o.keep {
			a.progress("lab %s is left as it is; its controller's log is %s", spec.Name, controllerLog(m, spec.Name))
			return err
		}
		dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		// Up has cleaned up already unless what failed came later.
		if existed, derr := m.Down(dctx, spec.Name); derr != nil {
			err = fmt.Errorf("%w; and removing the lab failed too: %w; run ofctl-lab lab down %s", err, derr, spec.Name)
		} else if existed {
			a.progress("lab %s is removed again; to keep it for a look use --keep-on-failure", spec.Name)
		}
		return err
	}
	if err := a.emit(ports, func(t *tables, f format) { portTable(t, f, ports) }); err != nil {
		return err
	}
	guests := ""
	if n := len(spec.Machines); n > 0 {
		guests = fmt.Sprintf(", %d virtual machines", n)
	}
	a.progress("lab %s is up after %.1f s: %d hosts, %d networks, %d ports%s", spec.Name, time.Since(begun).Seconds(),
		len(spec.Hosts), len(t.Topology.Networks), len(ports), guests)
	return nil
}

// bringUp builds the lab and returns its ports when all that it attaches are up.
func (a *app) bringUp(ctx context.Context, m *lab.Manager, t *topology, spec lab.Spec, o upOptions) ([]api.Port, error) {
	d, err := a.labDaemon(spec.Name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	apply := sync.OnceValue(func() error { return a.applyToLab(ctx, d, t) })
	up := lab.UpOptions{
		Controller: labController,
		Join: func(j lab.JoinInfo) (string, error) {
			// Hosts join a controller that knows them.
			if err := apply(); err != nil {
				return "", err
			}
			return joinScript(j.Host.Name, j.Host.TEP, j.Controller, listenPorts{ovsdb: lab.OVSDBPort, openflow: lab.OpenFlowPort})
		},
		Progress: func(step string) { a.progress("%s", step) },
	}
	if o.keep {
		up.OnFailure = lab.Keep
	}
	if up.Supervisor, err = labSupervisor(); err != nil {
		return nil, err
	}
	if o.accel != accelAuto {
		up.Accel = qemu.Accel(o.accel)
	}
	if err := m.Up(ctx, spec, up); err != nil {
		return nil, because(ctx, err)
	}
	ports, err := a.awaitPorts(ctx, d, spec)
	if err != nil {
		return nil, err
	}
	if err := a.awaitSwitches(ctx, d); err != nil {
		return nil, err
	}
	return ports, because(ctx, a.awaitGuests(ctx, m, spec.Name))
}

// because is err with why ctx ended, if that is more than a deadline.
func because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// labController is the command of a lab's controller: this program, with every
// setting on which the lab relies as a flag, and with a configuration file of its
// own, so that one that the machine has means nothing to it.
func labController(i lab.ControllerInfo) (lab.Command, error) {
	exe, err := os.Executable()
	if err != nil {
		return lab.Command{}, fmt.Errorf("the path of this program: %w", err)
	}
	conf := filepath.Join(i.Dir, "controller.yaml")
	if err := os.WriteFile(conf, []byte("# Settings of this lab's controller that its flags leave open.\nlog:\n  level: info\n"), 0o600); err != nil {
		return lab.Command{}, err
	}
	listen := func(port int) string { return net.JoinHostPort(i.Addr.String(), strconv.Itoa(port)) }
	return lab.Command{Argv: []string{
		exe, "controller", "--config", conf,
		"--state-dir", filepath.Join(i.Dir, "store"),
		"--api-socket", filepath.Join(i.Dir, "api.sock"), "--api-listen", "",
		"--openflow-listen", listen(lab.OpenFlowPort), "--ovsdb-listen", listen(lab.OVSDBPort),
		"--bridge-name", lab.IntegrationBridge,
	}}, nil
}

func controllerLog(m *lab.Manager, name string) string {
	return filepath.Join(m.Dir(name), "controller", "controller.log")
}

// applyToLab applies the topology as soon as the controller's interface answers.
func (a *app) applyToLab(ctx context.Context, d *daemon, t *topology) error {
	a.progress("topology %s", t.body.Name)
	return poll(ctx, func() (bool, string, error) {
		_, err := d.Apply(ctx, t.body)
		var p *api.Problem
		if err == nil || errors.As(err, &p) {
			return true, "", locate(t.body.Name, err)
		}
		return false, err.Error(), nil // not listening yet
	})
}

// awaitPorts returns all ports when those that the lab attaches are up. It says
// how many are whenever that changes, and in the end which are not, and why.
func (a *app) awaitPorts(ctx context.Context, d *daemon, spec lab.Spec) ([]api.Port, error) {
	attached := map[string]bool{}
	for _, at := range spec.Attachments {
		attached[at.Port] = true
	}
	for _, v := range spec.Machines {
		for _, n := range v.NICs {
			attached[n.Port] = true
		}
	}
	var ports []api.Port
	last := -1
	err := poll(ctx, func() (ok bool, waiting string, err error) {
		l, err := d.Ports(ctx)
		if err != nil {
			return false, "", d.explain(err)
		}
		ports = l
		missing := notUp(l, attached)
		if up := len(attached) - len(missing); up != last {
			a.progress("ports up: %d of %d", up, len(attached))
			last = up
		}
		return len(missing) == 0, strings.Join(missing, "\n"), nil
	})
	return ports, err
}

// notUp are the attached ports that are not up, each with the reason.
func notUp(ports []api.Port, attached map[string]bool) []string {
	var out []string
	found := 0
	for _, p := range ports {
		if !attached[p.Name] {
			continue
		}
		found++
		if p.Status.Wired() {
			continue
		}
		s := fmt.Sprintf("port %s is %s", p.Name, p.Status.State)
		if p.Status.Message != "" {
			s += ": " + p.Status.Message
		}
		out = append(out, s)
	}
	if found < len(attached) {
		out = append(out, fmt.Sprintf("%d ports are not declared in the controller", len(attached)-found))
	}
	slices.Sort(out)
	return out
}

// awaitSwitches waits until every switch has the newest revision, so that packets
// to every port find their way from the first one on.
func (a *app) awaitSwitches(ctx context.Context, d *daemon) error {
	wait := downTimeout
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(time.Until(deadline), pollInterval)
	}
	w, err := d.Wait(ctx, 0, wait)
	if err != nil {
		return d.explain(err)
	}
	return pending(w, wait)
}
