package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

func newLab(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run many hosts on this machine",
		Long: `Run many hosts on this machine: each is a network namespace with an Open vSwitch
of its own, joined to a controller of the lab's own in the way a real host joins.
Nothing is created outside the lab's own namespaces. Needs root.`,
	}
	group(cmd)
	cmd.AddCommand(newLabUp(a), newLabDown(a), newLabStatus(a), newLabList(a), newLabExec(a), newLabDemo(a),
		newLabPlug(a), newLabUnplug(a), newLabMove(a),
		newLabStart(a), newLabStop(a), newLabReboot(a), newLabMigrate(a), newLabConsole(a), newLabRunGuest())
	return cmd
}

// errNoLabRuns says that a command which needs a lab found none.
var errNoLabRuns = errors.New("no lab runs")

// theLab is the lab to work on: that of --lab, or the only one.
func (a *app) theLab() (string, error) {
	if name := a.settings.GetString("lab"); name != "" {
		if _, err := a.labs().Spec(name); err != nil {
			return "", a.unknownLab(name, err)
		}
		return name, nil
	}
	l, err := a.labs().List()
	switch {
	case len(l) == 1:
		return l[0].Name, nil
	case len(l) > 1:
		return "", usagef("several labs run (%s): choose one with --lab", strings.Join(labNames(l), ", "))
	case err != nil:
		return "", err
	}
	return "", fmt.Errorf("%w below %s; start one with ofctl-lab lab up FILE", errNoLabRuns, a.settings.GetString("state-root"))
}

func newLabDown(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "down [NAME]",
		Short: "Remove every trace of a lab",
		Long: `Remove every trace of a lab: its namespaces, daemons, controller and files. Without
NAME the only lab that there is. It is no error if there is none.`,
		Example: "  ofctl-lab lab down\n  ofctl-lab lab down two-hosts",
		Args:    args(0, 1, "[NAME]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var name string
			if len(args) == 1 {
				name = args[0]
			} else {
				var err error
				if name, err = a.theLab(); errors.Is(err, errNoLabRuns) {
					a.progress("no lab runs; nothing to do")
					return nil
				} else if err != nil {
					return err
				}
			}
			existed, err := a.labs().Down(cmd.Context(), name)
			switch {
			case err != nil:
				return err
			case existed:
				a.progress("lab %s is gone", name)
			default:
				a.progress("there is no lab %s; nothing to do", name)
			}
			return nil
		},
	}
}

func newLabList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the labs of this machine",
		Example: "  ofctl-lab lab list",
		Args:    args(0, 0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			l, lerr := a.labs().List()
			if l == nil {
				l = []lab.Summary{}
			}
			err := a.emit(l, func(t *tables, _ format) {
				rows := make([][]string, 0, len(l))
				for _, x := range l {
					rows = append(rows, []string{x.Name, string(x.Phase), strconv.Itoa(x.Hosts), strconv.Itoa(x.Attachments)})
				}
				t.table([]string{"NAME", "PHASE", "HOSTS", "PORTS"}, rows)
			})
			return errors.Join(err, lerr)
		},
	}
	addOutputFlag(cmd)
	return cmd
}

func newLabExec(a *app) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "exec HOST[/GUEST] -- COMMAND…",
		Short: "Run a command on a host or in a guest of the lab",
		Long: `Run a command in the namespace of a host, or of a guest on it. Open vSwitch's
programs then work on that host's switch. HOST "net" is the lab's own namespace,
with the underlay's bridge and the controller.

In a virtual machine its guest agent runs the command, and what it prints is shown
when it has ended. It has no input but with --stdin, which is read to its end before.
An interrupt ends the waiting, not the command, which goes on in the guest.

The exit status is that of the command.`,
		Example: `  ofctl-lab lab exec host1/red-a -- ping -c 1 10.1.1.2
  ofctl-lab lab exec host1 -- ovs-vsctl show
  ofctl-lab lab exec host1/vm1 -- ping -c 1 10.1.1.2`,
		Args: args(2, -1, "HOST[/GUEST] and a command"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := lab.ParseTarget(args[0])
			if err != nil {
				return usageError{err}
			}
			argv := args[1:]
			if argv[0] == "--" {
				argv = argv[1:]
			}
			if len(argv) == 0 {
				return usagef("%s needs a command", cmd.CommandPath())
			}
			name, err := a.theLab()
			if err != nil {
				return err
			}
			spec, err := a.labs().Spec(name)
			if err != nil {
				return err
			}
			c := lab.Cmd{Argv: argv, Stdin: a.in, Stdout: a.out, Stderr: a.err}
			ctx, stop := leaveInterruptsToChild(cmd.Context())
			if spec.IsMachine(target) {
				// No terminal's interrupt reaches the guest.
				stop()
				ctx = cmd.Context()
				if !stdin {
					c.Stdin = nil
				}
			}
			defer stop()
			code, err := a.labs().Exec(ctx, name, target, c)
			if err != nil {
				return err
			}
			if code != 0 {
				return statusError{status: code}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&stdin, "stdin", "i", false, "give the standard input to a command in a virtual machine")
	// Flags behind HOST are the command's.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// leaveInterruptsToChild is a context that does not end with an interrupt, which
// the terminal gives to the child as well: a shell or ping knows what to do with
// it, and ends or goes on. A request to terminate still ends it.
func leaveInterruptsToChild(ctx context.Context) (context.Context, func()) {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	return ctx, func() { stop(); signal.Stop(interrupts) }
}
