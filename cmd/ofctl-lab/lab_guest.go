package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// addForceFlag gives cmd the flag that spares the guest nothing.
func addForceFlag(cmd *cobra.Command, force *bool, usage string) {
	cmd.Flags().BoolVar(force, "force", false, usage)
}

func stopMode(force bool) lab.StopMode {
	if force {
		return lab.AtOnce
	}
	return lab.Gracefully
}

// guestCommand is a command on one guest of the lab, which f does.
func (a *app) guestCommand(cmd *cobra.Command, timeout *time.Duration, f func(ctx context.Context, m *lab.Manager, name string) error) error {
	if *timeout <= 0 {
		return usagef("--timeout %s must be positive", *timeout)
	}
	name, err := a.theLab()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), *timeout, fmt.Errorf("not done within --timeout %s", *timeout))
	defer cancel()
	return because(ctx, f(ctx, a.labs(), name))
}

func addTimeoutFlag(cmd *cobra.Command, timeout *time.Duration) {
	cmd.Flags().DurationVar(timeout, "timeout", guestTimeout, "how long it may take")
}

func newLabStart(a *app) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "start GUEST",
		Short: "Switch a virtual machine of the lab on",
		Long: `Switch a virtual machine of the lab on: its ports are plugged in, and the command
waits until it gives its sign of readiness on the network. It is no error if it runs.`,
		Example: "  ofctl-lab lab start vm1",
		Args:    args(1, 1, "GUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.guestCommand(cmd, &timeout, func(ctx context.Context, m *lab.Manager, name string) error {
				if err := m.StartMachine(ctx, name, args[0]); err != nil {
					return err
				}
				return a.awaitGuests(ctx, m, name, args[0])
			})
		},
	}
	addTimeoutFlag(cmd, &timeout)
	return cmd
}

func newLabStop(a *app) *cobra.Command {
	var (
		timeout time.Duration
		force   bool
	)
	cmd := &cobra.Command{
		Use:   "stop GUEST",
		Short: "Switch a virtual machine of the lab off",
		Long: `Switch a virtual machine of the lab off. Its guest is asked to, by its agent and by
the power button; if it has not done so after 30 seconds its power is cut. Its ports
are unplugged.`,
		Example: "  ofctl-lab lab stop vm1\n  ofctl-lab lab stop vm1 --force",
		Args:    args(1, 1, "GUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.guestCommand(cmd, &timeout, func(ctx context.Context, m *lab.Manager, name string) error {
				gracefully, err := m.StopMachine(ctx, name, args[0], stopMode(force))
				switch {
				case err != nil:
					return err
				case force || gracefully:
					a.progress("guest %s is off", args[0])
				default:
					a.progress("guest %s is off; it did not do so itself, its power was cut", args[0])
				}
				return nil
			})
		},
	}
	addTimeoutFlag(cmd, &timeout)
	addForceFlag(cmd, &force, "cut its power without asking it")
	return cmd
}

func newLabReboot(a *app) *cobra.Command {
	var (
		timeout time.Duration
		force   bool
	)
	cmd := &cobra.Command{
		Use:   "reboot GUEST",
		Short: "Boot a virtual machine of the lab anew",
		Long: `Boot a virtual machine of the lab anew, in place: its ports stay plugged in. Its
guest is asked to by its agent. Waits until it gives its sign of readiness.`,
		Example: "  ofctl-lab lab reboot vm1\n  ofctl-lab lab reboot vm1 --force",
		Args:    args(1, 1, "GUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.guestCommand(cmd, &timeout, func(ctx context.Context, m *lab.Manager, name string) error {
				if err := m.RebootMachine(ctx, name, args[0], stopMode(force)); err != nil {
					return err
				}
				return a.awaitGuests(ctx, m, name, args[0])
			})
		},
	}
	addTimeoutFlag(cmd, &timeout)
	addForceFlag(cmd, &force, "reset it without asking it")
	return cmd
}

// newLabRunGuest is the program that runs a virtual machine, which the lab starts.
func newLabRunGuest() *cobra.Command {
	return &cobra.Command{
		Use:    "run-guest DIR",
		Short:  "Run the virtual machine of a directory until it ends",
		Hidden: true,
		Args:   args(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.RunMachine(cmd.Context(), args[0])
		},
	}
}

// labSupervisor is the command of newLabRunGuest.
func labSupervisor() (*lab.Command, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("the path of this program: %w", err)
	}
	return &lab.Command{Argv: []string{exe, "lab", "run-guest"}}, nil
}
