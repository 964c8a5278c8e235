package main

import (
	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

func newDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "delete host|tenant|network|port NAME",
		Short: "Remove one object from the desired state",
		Long: `Remove one object from the desired state.

A tenant must have no networks and a network no ports. Deleting a port removes
its flows; its interface stays and is then listed under "get unclaimed".`,
		Example: "  ofctl-lab delete port red-b\n  ofctl-lab delete network red/mgmt",
		Args:    args(2, 2, "KIND NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := parseKind(args[0], kindHost, kindTenant, kindNetwork, kindPort)
			if err != nil {
				return err
			}
			d, err := a.daemon(cmd)
			if err != nil {
				return err
			}
			defer d.Close()
			ctx, name := cmd.Context(), args[1]
			var rev *api.Revision
			switch kind {
			case kindHost:
				rev, err = d.DeleteHost(ctx, name)
			case kindTenant:
				rev, err = d.DeleteTenant(ctx, name)
			case kindNetwork:
				rev, err = d.DeleteNetwork(ctx, name)
			case kindPort:
				rev, err = d.DeletePort(ctx, name)
			}
			if notFound(err) {
				return d.unknown(ctx, kind, name)
			}
			if err != nil {
				return d.explain(err)
			}
			a.progress("%s %s deleted (revision %d)", kind, name, rev.Revision)
			return nil
		},
		ValidArgs: []string{kindHost, kindTenant, kindNetwork, kindPort},
	}
}
