package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// stdio are the standard streams, so that tests can give others.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// app is what all commands share.
type app struct {
	stdio
	// settings are the flags of the command, the environment and the defaults.
	settings *viper.Viper
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, io stdio) int {
	a := &app{stdio: io}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	cmd, err := root.ExecuteContextC(ctx)
	return report(io.err, cmd, err)
}

// newRoot is the tree of commands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "ofctl-lab",
		Short: "Tenant networks over tunnel keys on Open vSwitch",
		Long: `Tenant networks over tunnel keys on Open vSwitch.

One controller, nothing but Open vSwitch on the hosts: a tenant network is a
tunnel key (GRE, VXLAN or Geneve), and a port is wired the moment its iface-id
appears on a host.

Exit status: 0 success, 1 failure, 2 wrong usage, 3 there is a difference.`,
		Example: `  ofctl-lab lab up configs/topologies/two-hosts.yaml
  ofctl-lab get ports
  ofctl-lab dump-flows host1 --port red-a
  ofctl-lab lab down`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.readSettings(cmd)
		},
	}
	group(root)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	pf := root.PersistentFlags()
	pf.String("socket", "", "controller to speak to: a unix socket or http://ADDRESS:PORT (default: that of the running lab, else that of the configuration file)")
	pf.String("lab", "", "name of the lab to speak to, where several run")
	pf.String("state-root", lab.DefaultRoot, "directory in which labs keep their state")
	pf.String("config", "", fmt.Sprintf("configuration file (default %s if it exists)", config.DefaultFile))
	root.AddCommand(
		newController(a), newLab(a), newPlan(a), newApply(a), newGet(a), newDescribe(a), newDelete(a),
		newAttach(a), newDetach(a), newMigrate(a), newHost(a), newGuest(a), newDumpFlows(a), newTrace(a), newVerify(a), newDoctor(a), newBench(a), newVersion(a), newReference(a),
	)
	return root
}

// group makes cmd a command that only has sub-commands: alone it prints its
// help, with a word it does not know it suggests the nearest.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return usagef("%s has no command %q; %s", cmd.CommandPath(), args[0], meant(args[0], names))
	}
}

// args is a validator for the arguments named in the command's usage: from
// least to most of them, any number if most is negative.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("%s needs %s", cmd.CommandPath(), names)
		case most >= 0 && len(args) > most:
			return usagef("%s does not take %q; it takes %s", cmd.CommandPath(), args[most], strings.TrimSpace(names+" and flags"))
		}
		return nil
	}
}

// readSettings binds the flags of cmd and their environment variables
// (OFCTL_LAB_SOCKET for --socket, and so on): a flag beats the environment.
func (a *app) readSettings(cmd *cobra.Command) error {
	v := viper.New()
	v.SetEnvPrefix(config.EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	for _, name := range []string{"socket", "lab", "state-root", "config", "output"} {
		fl := cmd.Flags().Lookup(name)
		if fl == nil {
			continue
		}
		if err := v.BindPFlag(name, fl); err != nil {
			return fmt.Errorf("flag --%s: %w", name, err)
		}
		if err := v.BindEnv(name); err != nil {
			return fmt.Errorf("environment of --%s: %w", name, err)
		}
	}
	a.settings = v
	// Before anything is done whose result could then not be shown.
	_, err := a.format()
	return err
}

// progress writes a line for people to standard error.
func (a *app) progress(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}
