package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mayWait is how often a frame may wait for ovs-vswitchd on its way from one guest to
// another: the kernel's datapath asks it about a frame for which it has no flow once in
// each bridge, and the way leads through br-int and the bridge of the underlay on two hosts.
const mayWait = 4

// settle returns when every frame that was sent before has arrived, left or been dropped.
// On the kernel's datapath a frame for which no flow is cached waits until ovs-vswitchd has
// said what becomes of it (an upcall), and those behind it whose flow is cached overtake it:
// there a sentinel that has arrived says nothing about the frames in front of it.
//
// A frame is in the queues of the CPUs, or in an upcall. So the queues are passed, then the
// upcalls are waited for, and that as often as a frame may be in an upcall. Frames that wait for
// a peer's MAC in the underlay are not seen; a sentinel on the same way that has arrived
// before shows that the MAC is known.
//
// The userspace datapath asks nobody: its handlers are idle, and this returns at once.
func (l *testLab) settle(t *testing.T) {
	t.Helper()
	settle(t, l.hosts, l.upcalls)
}

func settle(t *testing.T, hosts []string, look func(host string) (upcalls, error)) {
	t.Helper()
	for range mayWait {
		passQueues(t)
		for _, host := range hosts {
			// Whoever has taken out the last upcall of a socket, and waits for more
			// afterwards, has handled it. New ones may come all the while.
			upcallsOf := func(which func(upcalls) []string) func() []string {
				return func() []string {
					u, err := look(host)
					if err != nil {
						t.Fatalf("the upcalls of %s: %v", host, err)
					}
					return which(u)
				}
			}
			gone(t, "the queues of upcalls of "+host+" have been empty", upcallsOf(func(u upcalls) []string { return u.queued }))
			gone(t, "the handlers of upcalls of "+host+" have been idle", upcallsOf(func(u upcalls) []string { return u.working }))
		}
	}
	passQueues(t)
}

// gone waits until each of those that are there at first has once not been there.
func gone(t *testing.T, what string, there func() []string) {
	t.Helper()
	left := there()
	if len(left) == 0 {
		return
	}
	within(t, waiting{limit: patience, look: upcallLook}, what, func() bool {
		now := there()
		left = slices.DeleteFunc(left, func(s string) bool { return !slices.Contains(now, s) })
		return len(left) == 0
	})
}

// upcallLook is how often is looked for upcalls. Most are handled within less.
const upcallLook = time.Millisecond

// passQueues returns when each CPU has worked through the frames that it had queued. Each
// works through them in their order, so a datagram over the loopback device that is sent
// on a CPU, and has arrived, shows that those in front of it are through.
func passQueues(t *testing.T) {
	t.Helper()
	if err := onEachCPU(func() error { return overLoopback() }); err != nil {
		t.Fatalf("pass the CPUs' queues: %v", err)
	}
}

func overLoopback() error {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	to := c.LocalAddr().(*net.UDPAddr)
	var sent error
	// On this thread, and so on its CPU.
	if err := raw.Control(func(fd uintptr) {
		sent = unix.Sendto(int(fd), []byte("e2e"), 0, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}})
	}); err != nil || sent != nil {
		return errors.Join(err, sent)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 8))
	return err
}

// onEachCPU calls f on each CPU that this thread may use; the lab's daemons, which it
// has started, may use no other one.
func onEachCPU(f func() error) error {
	ended := make(chan error)
	go func() {
		// Never unlocked: the thread, whose CPU is another now, ends with the goroutine.
		runtime.LockOSThread()
		ended <- func() error {
			var all unix.CPUSet
			if err := unix.SchedGetaffinity(0, &all); err != nil {
				return err
			}
			for cpu, left := 0, all.Count(); left > 0; cpu++ {
				if !all.IsSet(cpu) {
					continue
				}
				left--
				var one unix.CPUSet
				one.Set(cpu)
				if err := unix.SchedSetaffinity(0, &one); err != nil {
					return err
				}
				if err := f(); err != nil {
					return fmt.Errorf("on CPU %d: %w", cpu, err)
				}
			}
			return nil
		}()
	}()
	return <-ended
}

// upcalls are what ovs-vswitchd of a host has to do for the kernel's datapath.
type upcalls struct {
	queued  []string // generic netlink sockets with something to be received
	working []string // threads that handle upcalls, and do not wait for any
}

// upcalls looks at those of a host. There are none where ovs-vswitchd does not run: what it
// had queued is gone.
func (l *testLab) upcalls(host string) (upcalls, error) {
	const program = "ovs-vswitchd"
	pid, err := l.daemonPID(host, program)
	if errors.Is(err, fs.ErrNotExist) {
		return upcalls{}, nil
	} else if err != nil {
		return upcalls{}, err
	}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	// "PID (NAME) STATE …": proc(5)
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if running := fmt.Sprintf("%d (%s) ", pid, program); err != nil || !strings.HasPrefix(string(stat), running) || strings.HasPrefix(string(stat), running+"Z") {
		return upcalls{}, nil
	}
	u, err := upcallsOf(proc)
	if _, serr := os.Stat(proc); errors.Is(serr, fs.ErrNotExist) {
		return upcalls{}, nil // it has ended meanwhile
	}
	return u, err
}

// upcallsOf are those of a process, given its directory in /proc.
func upcallsOf(proc string) (u upcalls, err error) {
	sockets, err := os.ReadFile(filepath.Join(proc, "net/netlink"))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(sockets)) {
		// sk, protocol, port, groups, bytes to be received, and others: proc(5)
		f := strings.Fields(line)
		if len(f) > 4 && f[1] == strconv.Itoa(unix.NETLINK_GENERIC) && f[4] != "0" {
			u.queued = append(u.queued, f[2])
		}
	}
	threads, err := filepath.Glob(filepath.Join(proc, "task/*"))
	if err != nil {
		return u, err
	}
	var handlers []string
	for _, thread := range threads {
		name, err := os.ReadFile(filepath.Join(thread, "comm"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		} else if err != nil {
			return u, err
		}
		if strings.HasPrefix(string(name), "handler") {
			handlers = append(handlers, thread)
		}
	}
	if len(handlers) == 0 {
		// Open vSwitch 3.5 has none for the userspace datapath, whose frames the main thread
		// takes from the ports of a lab, and handles their upcalls.
		handlers = append(handlers, filepath.Join(proc, "task", filepath.Base(proc)))
	}
	for _, thread := range handlers {
		idle, err := waitsForEvents(thread)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		} else if err != nil {
			return u, err
		}
		if !idle {
			u.working = append(u.working, filepath.Base(thread))
		}
	}
	return u, nil
}

// waitsForEvents reports whether a thread sleeps, and not for a lock. A handler does so
// nowhere but in poll, since the kernel answers what it asks within the same call.
func waitsForEvents(thread string) (bool, error) {
	// "7 0x…" in system call 7, "running" in none.
	call, err := os.ReadFile(filepath.Join(thread, "syscall"))
	if err != nil {
		return false, err
	}
	stat, err := os.ReadFile(filepath.Join(thread, "stat"))
	if err != nil {
		return false, err
	}
	_, after, ok := strings.Cut(string(stat), ") ")
	number, _, _ := strings.Cut(string(call), " ")
	return ok && strings.HasPrefix(after, "S") && strings.HasPrefix(string(call), number+" ") && number != strconv.Itoa(unix.SYS_FUTEX), nil
}

// daemonPID is the process of a host's daemon, as its file says.
func (l *testLab) daemonPID(host, program string) (int, error) {
	b, err := os.ReadFile(filepath.Join(l.m.Dir(l.name), "hosts", host, program+".pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}
