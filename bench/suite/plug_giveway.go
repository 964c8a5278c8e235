package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// lowest is the nice value of who runs only while nobody else wants to.
const lowest = 19

// giveWay lets every thread that runs on a host now, whoever has started it, yield to all
// others on this machine. The third host of plugging stands for other machines, which would bring
// processors of their own: its ovs-vswitchd is busy for some 10 ms with each change while it
// has a thousand ports, and for a tenth of that with ten, and on two cores the hosts that are
// measured would wait for it.
func giveWay(ctx context.Context, in plugLab, host string) error {
	// All that runs on a host shares its network namespace.
	out, err := in.Run(ctx, host, "readlink", "/proc/self/ns/net")
	if err != nil {
		return err
	}
	namespace := strings.TrimSpace(out)
	tasks, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil {
		return err
	}
	found := false
	for _, task := range tasks {
		if ns, err := os.Readlink(filepath.Join(task, "ns/net")); err != nil || ns != namespace {
			continue // or it has ended
		}
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, tid, lowest); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("let thread %d of %s give way: %w", tid, host, err)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("nothing runs in namespace %s of %s: who is to give way?", namespace, host)
	}
	return nil
}
