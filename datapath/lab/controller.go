package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
)

// The controller's ports on the management network, registered with IANA.
const (
	OpenFlowPort = 6653
	OVSDBPort    = 6640
)

// controllerTimeout is how long a controller may take until it listens.
const controllerTimeout = 15 * time.Second

const controllerKey = "controller"

// ControllerInfo is what the controller's command depends on.
type ControllerInfo struct {
	// Addr is the address to listen on, at [OpenFlowPort] and [OVSDBPort].
	Addr netip.Addr
	// Dir is the controller's directory for its files, which exists and goes with
	// the lab.
	Dir string
}

// Command is a program to start.
type Command struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env,omitempty"` // added to this process's
}

func (l *instance) controllerAddr() netip.Addr { return l.st.Management.Addr().Next() }

func (l *instance) controllerDir() string {
	return filepath.Join(l.m.Dir(l.name), "controller")
}

func (l *instance) controllerLog() string { return filepath.Join(l.controllerDir(), "controller.log") }

// ensureController starts the controller unless it runs, and returns when it
// listens.
func (l *instance) ensureController(ctx context.Context, command func(ControllerInfo) (Command, error)) error {
	if err := os.MkdirAll(l.controllerDir(), 0o755); err != nil {
		return err
	}
	c, err := command(ControllerInfo{Addr: l.controllerAddr(), Dir: l.controllerDir()})
	if err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	return l.startController(ctx, c)
}

func (l *instance) startController(ctx context.Context, c Command) error {
	if len(c.Argv) == 0 {
		return errors.New("controller: its command is empty")
	}
	l.mu.Lock()
	p, known := l.st.Processes[controllerKey], l.st.Controller
	l.mu.Unlock()
	if p.alive() && known != nil && slices.Equal(known.Argv, c.Argv) && slices.Equal(known.Env, c.Env) {
		return l.waitForController(ctx, p)
	}
	if err := stop(ctx, stillAlive(p)); err != nil {
		return fmt.Errorf("stop the controller: %w", err)
	}
	// An Up that was killed may have started one without having noted its process.
	commands := []Command{c}
	if known != nil {
		commands = append(commands, *known)
	}
	if err := stop(ctx, l.controllersOf(commands)); err != nil {
		return fmt.Errorf("stop the controller of an interrupted command: %w", err)
	}
	if err := l.update(func(st *state) { st.Controller = &c }); err != nil {
		return err
	}
	ns, err := netdev.OpenNamespace(hostNamespace(l.name, infrastructure))
	if err != nil {
		return err
	}
	defer ns.Close()
	p, err = startDetached(ctx, ns, c, l.controllerLog())
	if err != nil {
		return fmt.Errorf("start the controller: %w", err)
	}
	if err := os.WriteFile(filepath.Join(l.controllerDir(), "controller.pid"), []byte(strconv.Itoa(p.PID)+"\n"), 0o644); err != nil {
		return err
	}
	if err := l.update(func(st *state) { st.Processes[controllerKey] = p }); err != nil {
		return err
	}
	return l.waitForController(ctx, p)
}

// controllersOf finds the processes of these commands in the namespace in which
// the controller runs, also while they are still a shell that is about to start one.
func (l *instance) controllersOf(commands []Command) func() ([]process, error) {
	return func() ([]process, error) {
		ps, err := inhabitants([]string{hostNamespace(l.name, infrastructure)})
		return slices.DeleteFunc(ps, func(p process) bool {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
			return err != nil || !slices.ContainsFunc(commands, func(c Command) bool {
				return strings.HasSuffix("\x00"+string(line), "\x00"+strings.Join(c.Argv, "\x00")+"\x00")
			})
		}), err
	}
}

// waitForController returns when the controller listens for both protocols. It
// looks at the sockets of its namespace, because a connection made only to see
// would be a peer that says nothing, which the controller has to complain about.
func (l *instance) waitForController(ctx context.Context, p process) error {
	ctx, cancel := context.WithTimeout(ctx, controllerTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if !p.alive() {
			return fmt.Errorf("the controller ended%s", logTail(l.controllerLog()))
		}
		ports := listening(p.PID)
		if slices.Contains(ports, OpenFlowPort) && slices.Contains(ports, OVSDBPort) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the controller listens on the TCP ports %v, not yet on %d and %d of %s: %w%s",
				ports, OpenFlowPort, OVSDBPort, l.controllerAddr(), ctx.Err(), logTail(l.controllerLog()))
		case <-tick.C:
		}
	}
}

// listening are the TCP ports listened on in the process's namespace (proc(5),
// /proc/net/tcp).
func listening(pid int) []int {
	var ports []int
	for _, file := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			const listen = "0A"
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
				ports = append(ports, int(port))
			}
		}
		f.Close()
	}
	return ports
}

// RestartController stops the lab's controller, with SIGTERM or SIGKILL as
// told, and starts the same command again.
func (m *Manager) RestartController(ctx context.Context, lab string, how StopMode) error {
	return m.edit(ctx, lab, "restart the controller", func(l *instance) error {
		if l.st.Controller == nil {
			return errors.New("the lab has no controller")
		}
		if err := l.stopController(ctx, how); err != nil {
			return err
		}
		return l.startController(ctx, *l.st.Controller)
	})
}

// StopController stops the lab's controller. Up starts it again.
func (m *Manager) StopController(ctx context.Context, lab string, how StopMode) error {
	return m.edit(ctx, lab, "stop the controller", func(l *instance) error { return l.stopController(ctx, how) })
}
