package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// controller is the main package of ofctl-lab, seen from the top of the source tree.
const controller = "cmd/ofctl-lab"

// ControllerEnv names in the environment an ofctl-lab that is built already, for tests that
// start many labs: linking takes longer than a lab.
const ControllerEnv = "OFCTL_LAB_BENCH_CONTROLLER"

// Controller is the path of a program that is ofctl-lab: the running one where it is that, so
// that ofctl-lab bench needs no source tree and measures itself; else (a test) that of ControllerEnv,
// or one that is compiled into dir.
func Controller(ctx context.Context, dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	if isController(self) {
		return self, nil
	}
	if given := os.Getenv(ControllerEnv); given != "" {
		return given, nil
	}
	program := filepath.Join(dir, filepath.Base(controller))
	return program, Program(ctx, controller, program)
}

// isController reports whether the running program, whose file is self, is ofctl-lab. The build
// says so; the name does for a test binary that stands in for it, as testscript's do.
func isController(self string) bool {
	info, ok := debug.ReadBuildInfo()
	return filepath.Base(self) == filepath.Base(controller) ||
		ok && info.Path == info.Main.Path+"/"+controller
}
