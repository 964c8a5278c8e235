package bridge

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/vishvananda/netlink"
)

// isolatedEnv marks the inner process.
const isolatedEnv = "OFCTL_LAB_BENCH_ISOLATED"

// Isolate puts a whole program into a network namespace of its own, in which
// nothing but the loopback interface exists: call it first in main or TestMain. In
// the outer process it runs the same program again, inside, and returns its exit code with
// inside false: pass that to os.Exit. In the inner process it returns at once with inside true.
//
// The namespace has no name and goes with its last process, so there is nothing
// to clean up, and port numbers and bridge names are free. It needs root.
func Isolate() (inside bool, code int, err error) {
	if os.Getenv(isolatedEnv) != "" {
		return true, 0, loopbackUp()
	}
	if os.Geteuid() != 0 {
		return false, 1, errors.New("a network namespace needs root: run this with sudo")
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), isolatedEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A process group of its own, so that an interrupt from the terminal comes through here too: it
	// would else end the programs that the inner process runs before it can clean up with them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true, Pdeathsig: syscall.SIGKILL}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return false, 1, fmt.Errorf("run %s in a network namespace: %w", os.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// It may have ended already; ended says so.
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return false, 1, fmt.Errorf("wait for %s: %w", os.Args[0], err)
			}
			if code = cmd.ProcessState.ExitCode(); code < 0 {
				return false, 1, fmt.Errorf("%s in a network namespace: %s", os.Args[0], cmd.ProcessState)
			}
			return false, code, nil
		}
	}
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}
