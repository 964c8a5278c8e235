package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// libvirtEnv is libvirt's own variable for the daemon to speak to.
const libvirtEnv = "LIBVIRT_DEFAULT_URI"

// addConnectFlag gives cmd the flag for the libvirt daemon to speak to.
func addConnectFlag(cmd *cobra.Command) {
	cmd.Flags().String("connect", "", "libvirt of this machine: unix:///PATH of its socket, qemu:///system or qemu:///session (default $"+libvirtEnv+", else qemu:///system)")
}

// libvirt connects to the daemon of the flag --connect. The caller closes it.
func (a *app) libvirt(cmd *cobra.Command) (*libvirt.Conn, error) {
	uri, err := cmd.Flags().GetString("connect")
	if err != nil {
		return nil, err
	}
	if uri == "" {
		uri = os.Getenv(libvirtEnv)
	}
	return libvirt.Connect(cmd.Context(), uri)
}

// withDomain runs f on the daemon with the name of the command's one guest. One that libvirt
// does not have is an error with those that it has.
func (a *app) withDomain(f func(ctx context.Context, c *libvirt.Conn, name string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.libvirt(cmd)
		if err != nil {
			return err
		}
		defer c.Close()
		err = f(cmd.Context(), c, args[0])
		if !errors.Is(err, libvirt.ErrNoDomain) {
			return err
		}
		domains, lerr := c.Domains(cmd.Context())
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		names := make([]string, len(domains))
		for i, d := range domains {
			names[i] = d.Name
		}
		return fmt.Errorf("libvirt at %s has no guest %q; %s", c.Socket(), args[0], meant(args[0], names))
	}
}

func newGuestDefine(a *app) *cobra.Command {
	var o struct {
		file, accel, bridge string
		network             bool
	}
	cmd := &cobra.Command{
		Use:   "define NAME -f FILE | --network",
		Short: "Make libvirt have a guest of a topology file",
		Long: `Make the libvirt of this machine have a guest of a topology file, and the libvirt
network that guests are on. Run it on the guest's host, and again after a change
of the file: a guest that runs gets the change at its next start.

The images are looked for first. If anything fails, nothing is left defined that
was not there before; a domain of that name that is not this guest is not touched.

With --network only the network is defined: a host needs it before a guest is
migrated to it.`,
		Example: `  ofctl-lab guest define vm1 -f configs/topologies/veos.yaml
  ofctl-lab guest define --network`,
		Args: args(0, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.network {
				return a.defineNetwork(cmd, args, o.bridge)
			}
			if len(args) == 0 {
				return usagef("%s needs the NAME of a guest, or --network", cmd.CommandPath())
			}
			domain, err := a.domainXML(cmd, args[0], o.file, o.accel)
			if err != nil {
				return err
			}
			network, err := guest.NetworkXML(libvirtNetwork(o.bridge))
			if err != nil {
				return err
			}
			c, err := a.libvirt(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			outcome, err := c.Define(cmd.Context(), libvirt.Definition{Domain: string(domain), Networks: []string{string(network)}})
			if errors.Is(err, libvirt.ErrNoKVM) {
				return fmt.Errorf("%w; leave the choice to this machine: guest define %s -f %s --accel auto", err, args[0], o.file)
			}
			if err != nil {
				return err
			}
			a.progress("guest %s: %s", args[0], outcome)
			return nil
		},
	}
	addFileFlag(cmd, &o.file)
	addAccelFlag(cmd, &o.accel)
	addConnectFlag(cmd)
	cmd.Flags().BoolVar(&o.network, "network", false, "define the network alone, and no guest")
	cmd.Flags().StringVar(&o.bridge, "bridge", config.Default().BridgeName, "the integration bridge of this machine")
	return cmd
}

// defineNetwork makes libvirt have the network that guests are on.
func (a *app) defineNetwork(cmd *cobra.Command, args []string, bridge string) error {
	if len(args) > 0 {
		return usagef("--network is the same for all guests; leave %q out", args[0])
	}
	network, err := guest.NetworkXML(libvirtNetwork(bridge))
	if err != nil {
		return err
	}
	c, err := a.libvirt(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.DefineNetwork(cmd.Context(), string(network)); err != nil {
		return err
	}
	a.progress("network %s: defined and active, on bridge %s", guestNetwork, bridge)
	return nil
}

func newGuestStart(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start NAME",
		Short: "Start a guest",
		Long: `Start a guest under the libvirt of this machine. Its ports are bound as its tap
devices appear; no other command is needed, now or after any restart. A guest that
is to run under KVM is not started where KVM does not work, which is tried first.`,
		Example: "  ofctl-lab guest start vm1",
		Args:    args(1, 1, "NAME"),
		RunE: a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
			virt, err := c.Virt(ctx, name)
			if err != nil {
				return err
			}
			if virt == string(qemu.KVM) && qemu.Prerequisites() == nil {
				err = qemu.CheckKVM(ctx)
			}
			// The daemon may be able to open what this user cannot.
			if err == nil || errors.Is(err, fs.ErrPermission) {
				err = c.Start(ctx, name)
			}
			if errors.Is(err, qemu.ErrNoKVM) || errors.Is(err, libvirt.ErrNoKVM) {
				return fmt.Errorf("guest %s is defined for KVM: %w; define it again: guest define %[1]s -f FILE --accel auto", name, err)
			}
			if err != nil {
				return err
			}
			a.progress("guest %s: started", name)
			return nil
		}),
	}
	addConnectFlag(cmd)
	return cmd
}

func newGuestStop(a *app) *cobra.Command {
	var o struct {
		wait  time.Duration
		force bool
	}
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "Stop a guest",
		Long: `Ask a guest to power off, and wait until it has. One that does not listen, as many
switches do, goes on running, unless --force takes its power away then.`,
		Example: "  ofctl-lab guest stop vm1 --wait 5s --force",
		Args:    args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.wait < 0 || o.wait > 10*time.Minute {
				return usagef("--wait %s is not in 0s…10m", o.wait)
			}
			if o.wait == 0 && !o.force {
				return usagef("--wait 0 does not ask the guest, and only --force stops one that was not asked")
			}
			return a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
				way := libvirt.AskOnly
				if o.force {
					way = libvirt.AskThenDestroy
				}
				if err := c.Stop(ctx, name, o.wait, way); err != nil {
					return err
				}
				a.progress("guest %s: stopped", name)
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().DurationVar(&o.wait, "wait", time.Minute, "how long the guest may take, 0s…10m; 0 does not ask it")
	cmd.Flags().BoolVar(&o.force, "force", false, "take its power away if it does not stop")
	addConnectFlag(cmd)
	return cmd
}

func newGuestConsole(a *app) *cobra.Command {
	var take bool
	cmd := &cobra.Command{
		Use:   "console NAME",
		Short: "Connect to a guest's serial console",
		Long: `Connect this terminal to the serial console of a guest. ^] (control and the right
bracket) ends the connection, and so does the guest's end. Without a terminal, what
is on standard input is typed, and the rest is shown until the guest ends.`,
		Example: `  ofctl-lab guest console vm1 --take`,
		Args:    args(1, 1, "NAME"),
		RunE: a.withDomain(func(ctx context.Context, c *libvirt.Conn, name string) error {
			sharing := libvirt.ConsoleRefuse
			if take {
				sharing = libvirt.ConsoleTake
			}
			restore, err := a.rawTerminal()
			if err != nil {
				return err
			}
			a.progress("console of %s; ^] ends it\r", name)
			err = errors.Join(c.Console(ctx, name, libvirt.Streams{In: a.in, Out: a.out}, sharing), restore())
			if err == nil {
				a.progress("\nthe console of %s has ended", name)
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&take, "take", false, "take the console from somebody who has it open")
	addConnectFlag(cmd)
	return cmd
}

// rawTerminal makes standard input, if it is a terminal, pass on every key.
func (a *app) rawTerminal() (restore func() error, err error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() error { return nil }, nil
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("the terminal: %w", err)
	}
	return func() error { return term.Restore(int(f.Fd()), before) }, nil
}
