// Package osken is os-ken as a peer: a learning switch in Python on OpenStack's fork of Ryu.
// README.md says how it is configured and why.
package osken

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ofctl-lab/ofctl-lab/bench/peers"
	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

const program = "/usr/bin/osken-manager"

//go:embed learning_switch.py
var application []byte

// Install writes the application into dir and returns how it is run from there.
func Install(dir string) (peers.Spec, error) {
	file := filepath.Join(dir, "learning_switch.py")
	if err := os.WriteFile(file, application, 0o644); err != nil {
		return peers.Spec{}, fmt.Errorf("application of os-ken: %w", err)
	}
	return peers.Spec{
		Name: "os-ken", Program: program, Port: 6653, Package: "python3-os-ken",
		Args: []string{"--default-log-level", "30", "--ofp-tcp-listen-port", "6653", file},
		Env:  []string{"PYTHONDONTWRITEBYTECODE=1"}, // nothing is left behind
	}, nil
}

// Version is what it says of itself.
func Version(ctx context.Context) (string, error) { return proc.Version(ctx, program) }
