// Package testcontroller is ovs-testcontroller as a peer: Open vSwitch's own learning
// switch, in C. README.md says how it is configured and why.
package testcontroller

import (
	"context"

	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

const program = "ovs-testcontroller"

// MaxSwitches is how many switches it serves; it leaves others waiting (MAX_SWITCHES in its source).
const MaxSwitches = 16

// Spec is how it is run.
func Spec() peers.Spec {
	return peers.Spec{
		Name: program, Program: program, Port: 6653, Package: "openvswitch-testcontroller",
		Args: []string{"--noflow", "--unixctl=none", "--verbose=console:warn", "--verbose=syslog:off", "-O", "OpenFlow13", "ptcp:6653"},
	}
}

// Version is what it says of itself.
func Version(ctx context.Context) (string, error) { return proc.Version(ctx, program) }
