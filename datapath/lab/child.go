package lab

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// child is a process that ends with this one, however this one ends.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended; err says how
	err   error
}

type childSpec struct {
	argv  []string
	dir   string
	files []*os.File // from descriptor 3 on
	log   *os.File   // both of its outputs
}

// startChild starts a process that the kernel kills when this one ends
// (PR_SET_PDEATHSIG). That goes by the thread that has started it, which therefore
// stays as long as the child.
func startChild(s childSpec) (*child, error) {
	c := &child{cmd: exec.Command(s.argv[0], s.argv[1:]...), ended: make(chan struct{})}
	c.cmd.Dir, c.cmd.ExtraFiles = s.dir, s.files
	c.cmd.Stdout, c.cmd.Stderr = s.log, s.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }
