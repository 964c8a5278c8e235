package main

import (
	"github.com/spf13/cobra"
)

func newGuest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guest",
		Short: "Virtual machines under libvirt",
		Long: `Virtual machines under libvirt, defined in the section guests of a topology file.
Their network cards are ports that are bound by their iface-id, as all others are.`,
	}
	group(cmd)
	cmd.AddCommand(newGuestXML(a), newGuestImport(a), newGuestDefine(a), newGuestStart(a), newGuestStop(a),
		newGuestStatus(a), newGuestConsole(a), newGuestUndefine(a), newGuestAccel(a))
	return cmd
}

// addFileFlag gives cmd the flag -f for the topology file that defines its guests.
func addFileFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "file", "f", "", "topology file that defines the guest; - is standard input (required)")
}

// guestFile is the topology file of the flag -f.
func (a *app) guestFile(cmd *cobra.Command, path string) (*topology, error) {
	if path == "" {
		return nil, usagef("%s needs -f FILE, the topology file that defines the guest", cmd.CommandPath())
	}
	return a.readTopology(path)
}
