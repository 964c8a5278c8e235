package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

func newGuestAccel(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accel",
		Short: "Print what virtual machines run on here",
		Long: `Print what virtual machines run on here: kvm where KVM works, which is found by
trying it with a tiny machine, and tcg (emulation, much slower) elsewhere. Why it is
tcg goes to standard error.`,
		Example: "  ofctl-lab guest accel",
		Args:    args(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, note, err := qemu.FindAccel(cmd.Context())
			if err != nil {
				return err
			}
			if note != "" {
				a.progress("note: %s", note)
			}
			_, err = fmt.Fprintln(a.out, found)
			return err
		},
	}
}
