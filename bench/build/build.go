// Package build compiles programs of the source tree for the benchmarks that run them.
package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program compiles the main package in dir, a path seen from the top of the source
// tree, and writes the program to file. The package may be of a module of its own.
// It needs Go, and a working directory within the source tree.
func Program(ctx context.Context, dir, file string) error {
	top, err := Top(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", file, ".")
	cmd.Dir = filepath.Join(top, dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", dir, err, bytes.TrimSpace(out))
	}
	return nil
}

// Top is the directory of the source tree. It needs Go, and a working directory within the
// source tree.
func Top(ctx context.Context) (string, error) {
	top, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree (run benchmarks inside it): %w", err)
	}
	return strings.TrimSpace(string(top)), nil
}
