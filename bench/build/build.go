// Package build compiles programs of the source tree for the benchmarks that run them.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the path of the module that the source tree is.
const module = "github.com/ofctl-lab/ofctl-lab"

// ErrNoSource is the error outside the source tree of ofctl-lab, where nothing can be compiled.
var ErrNoSource = errors.New("not inside the ofctl-lab source tree: change to it to run this")

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
// source tree: ErrNoSource says that this is none.
func Top(ctx context.Context) (string, error) {
	// Outside of any module this succeeds, and names a module without a directory; within another
	// one it names that.
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the source tree: go list: %w", err)
	}
	path, top, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if path != module || top == "" {
		return "", ErrNoSource
	}
	return top, nil
}
