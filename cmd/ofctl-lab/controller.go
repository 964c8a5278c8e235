package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
)

func newController(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller",
		Long: `Run the controller in the foreground until SIGINT or SIGTERM. Switches go on
forwarding while it is away, and after a restart they are compared and repaired,
never cleared.

Every setting can be given as a flag, in the environment (OFCTL_LAB_OPENFLOW_LISTEN
for --openflow-listen) or in the configuration file (openflow.listen); a flag beats
the environment, the environment beats the file.`,
		Example: `  ofctl-lab controller
  ofctl-lab controller --config /etc/ofctl-lab/ofctl-lab.yaml --log-level debug`,
		Args: args(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(cmd.Flags())
			if err != nil {
				return usageError{err} // a setting that cannot be meant, wherever it is
			}
			v := buildVersion()
			ctl, err := controller.New(c, controller.Deps{Log: newLogger(a.err, c), Version: v.Version, Commit: v.Commit})
			if err != nil {
				return err
			}
			return ctl.Run(cmd.Context())
		},
	}
	config.AddFlags(cmd.Flags())
	return cmd
}

func newLogger(w io.Writer, c *config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
