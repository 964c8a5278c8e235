package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
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

func settle(t *testing.T, hosts []string, upcalls func(host string) (busy string, err error)) {
	t.Helper()
	for range mayWait {
		passQueues(t)
		for _, host := range hosts {
			busy := ""
			within(t, waiting{limit: patience, look: upcallLook}, "ovs-vswitchd of "+host+" has handled its upcalls", func() bool {
				var err error
				if busy, err = upcalls(host); err != nil {
					t.Fatalf("the upcalls of %s: %v", host, err)
				}
				return busy == ""
			})
		}
	}
	passQueues(t)
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

// upcalls says what ovs-vswitchd of a host is busy with, empty if it has handled all upcalls
// that were queued when it was asked. Where it does not run, nothing will be handled.
func (l *testLab) upcalls(host string) (busy string, err error) {
	const program = "ovs-vswitchd"
	pid, err := l.daemonPID(host, program)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	// "PID (NAME) STATE …": proc(5)
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if running := fmt.Sprintf("%d (%s) ", pid, program); err != nil || !strings.HasPrefix(string(stat), running) || strings.HasPrefix(string(stat), running+"Z") {
		return "", nil // it has ended, and what it had queued is gone
	}
	busy, err = upcallsOf(proc)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "one of its threads ends", nil
	}
	return busy, err
}

// upcallsOf is upcalls of a process, given its directory in /proc. An upcall is queued in a
// generic netlink socket, then handled by one of the threads named handler. So the sockets are
// looked at first: a handler that has taken out the last of them, and waits for more
// afterwards, has handled it.
func upcallsOf(proc string) (busy string, err error) {
	sockets, err := os.ReadFile(filepath.Join(proc, "net/netlink"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(sockets)) {
		// sk, protocol, port, groups, bytes to be received, and others: proc(5)
		f := strings.Fields(line)
		if len(f) > 4 && f[1] == strconv.Itoa(unix.NETLINK_GENERIC) && f[4] != "0" {
			return f[4] + " bytes of upcalls are queued", nil
		}
	}
	threads, err := filepath.Glob(filepath.Join(proc, "task/*"))
	if err != nil {
		return "", err
	}
	for _, thread := range threads {
		name, err := os.ReadFile(filepath.Join(thread, "comm"))
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(string(name), "handler") {
			continue
		}
		idle, err := waitsForEvents(thread)
		if err != nil {
			return "", err
		}
		if !idle {
			return "thread " + strings.TrimSpace(string(name)) + " is at work", nil
		}
	}
	return "", nil
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
