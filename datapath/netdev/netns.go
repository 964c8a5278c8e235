package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespaceDir is where ip-netns(8) and everybody else keeps named namespaces.
const namespaceDir = "/run/netns"

// Namespace is an open network namespace. It keeps the namespace alive even
// when its name is deleted, until Close. Safe for concurrent use.
type Namespace struct {
	name string // empty for the one the process runs in
	fd   netns.NsHandle
	nl   *netlink.Handle
}

// CreateNamespace creates the network namespace name under /run/netns, with its
// loopback interface up, and opens it. The error is fs.ErrExist if there is one
// of that name.
func CreateNamespace(name string) (*Namespace, error) {
	if err := CheckNamespaceName(name); err != nil {
		return nil, fmt.Errorf("create namespace: %w", err)
	}
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", name, err)
	}
	if err := shareNamespaceDir(); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", name, err)
	}
	path := NamespacePath(name)
	// The file is the claim on the name: whoever creates it owns it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", name, err)
	}
	f.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		return unix.Mount(self, path, "bind", unix.MS_BIND, "")
	})
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("create namespace %s: %w%s", name, err, rootHint(err))
	}
	ns, err := OpenNamespace(name)
	if err == nil {
		_, err = ns.Configure("lo", LinkConfig{State: Up})
		if err != nil {
			ns.Close()
		}
	}
	if err != nil {
		return nil, errors.Join(err, DeleteNamespace(name))
	}
	return ns, nil
}

// shareNamespaceDir makes /run/netns a shared mount, as ip-netns(8) does, so
// that a namespace deleted here is also deleted in the mount namespaces of
// services which were started in between. Two doing it at once would mount it
// twice and hide names: the lock is the one ip-netns takes.
func shareNamespaceDir() error {
	dir, err := os.Open(namespaceDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	err = unix.Mount("", namespaceDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) { // EINVAL: not a mount point yet
		return err
	}
	if err := unix.Mount(namespaceDir, namespaceDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", namespaceDir, "none", unix.MS_SHARED|unix.MS_REC, "")
}

// EnsureNamespace opens the namespace name, creating it if it does not exist;
// created says which.
func EnsureNamespace(name string) (ns *Namespace, created bool, err error) {
	ns, err = CreateNamespace(name)
	if err == nil {
		return ns, true, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, false, err
	}
	ns, err = OpenNamespace(name)
	if err == nil {
		return ns, false, nil
	}
	if !errors.Is(err, errStaleName) {
		return nil, false, err
	}
	// A creation was interrupted between the file and the mount, or the machine
	// has kept /run over a reboot: the file names nothing.
	if err := DeleteNamespace(name); err != nil {
		return nil, false, err
	}
	ns, err = CreateNamespace(name)
	return ns, err == nil, err
}

var errStaleName = errors.New("the file is no namespace (left by an interrupted creation)")

// OpenNamespace opens the named network namespace. The error is fs.ErrNotExist
// if there is none.
func OpenNamespace(name string) (*Namespace, error) {
	if err := CheckNamespaceName(name); err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	path := NamespacePath(name)
	fd, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace %s: %w", name, err)
	}
	var fsInfo unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &fsInfo); err != nil || fsInfo.Type != unix.NSFS_MAGIC {
		fd.Close()
		return nil, fmt.Errorf("open namespace %s: %s: %w", name, path, errStaleName)
	}
	return newNamespace(name, fd)
}

// CurrentNamespace opens the namespace this process runs in.
func CurrentNamespace() (*Namespace, error) {
	fd, err := netns.GetFromPath("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the process's own namespace: %w", err)
	}
	return newNamespace("", fd)
}

// NewNamespace creates a network namespace without a name, which goes with all its
// devices when it is closed, or when this process ends, however it does.
func NewNamespace() (*Namespace, error) {
	var fd netns.NsHandle
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		fd, err = netns.Get()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("create a namespace without a name: %w%s", err, rootHint(err))
	}
	ns, err := newNamespace("", fd)
	if err != nil {
		return nil, err
	}
	if _, err := ns.Configure("lo", LinkConfig{State: Up}); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// NamespaceOf opens the network namespace of a process.
func NamespaceOf(pid int) (*Namespace, error) {
	fd, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, fmt.Errorf("open the namespace of process %d: %w", pid, err)
	}
	return newNamespace("", fd)
}

func newNamespace(name string, fd netns.NsHandle) (*Namespace, error) {
	nl, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		fd.Close()
		return nil, fmt.Errorf("open namespace %s: netlink: %w%s", name, err, rootHint(err))
	}
	return &Namespace{name: name, fd: fd, nl: nl}, nil
}

// AddName gives the namespace another name under /run/netns, beside those that it
// has. The error is fs.ErrExist if there is one of that name.
func (ns *Namespace) AddName(name string) error {
	if err := CheckNamespaceName(name); err != nil {
		return fmt.Errorf("name namespace: %w", err)
	}
	path := NamespacePath(name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("name namespace %s: %w", name, err)
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", int(ns.fd)), path, "bind", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return fmt.Errorf("name namespace %s: %w%s", name, err, rootHint(err))
	}
	return nil
}

// DeleteNamespace deletes the name; the namespace itself goes, with all its
// devices, when the last process and handle in it is gone. No error if there is
// none of that name.
func DeleteNamespace(name string) error {
	if err := CheckNamespaceName(name); err != nil {
		return fmt.Errorf("delete namespace: %w", err)
	}
	path := NamespacePath(name)
	// EINVAL: the file is there, but nothing is mounted on it.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil &&
		!errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete namespace %s: %w%s", name, err, rootHint(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

// Namespaces lists the names under /run/netns.
func Namespaces() ([]string, error) {
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// NamespacePath is the file of the namespace name, whether it exists or not.
func NamespacePath(name string) string { return filepath.Join(namespaceDir, name) }

// Name is the namespace's name; empty for [CurrentNamespace].
func (ns *Namespace) Name() string { return ns.name }

// Close releases the handle. The namespace stays.
func (ns *Namespace) Close() error {
	ns.nl.Close()
	return ns.fd.Close()
}

// ID identifies the namespace among all of the running kernel: the inode number
// of /proc/PID/ns/net of each process in it.
func (ns *Namespace) ID() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.fd), &st); err != nil {
		return 0, ns.wrap("stat", "", err)
	}
	return st.Ino, nil
}

// Do runs f on a thread which is in the namespace. What f opens or starts (a
// socket, a file in /proc/sys/net, a process) belongs to the namespace; f must
// not start a goroutine that relies on it.
func (ns *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(ns.fd); err != nil {
			return ns.wrap("enter", "", err)
		}
		return f()
	})
}

// Start starts cmd in the namespace. As with cmd.Start, the caller must Wait.
// Only the network is the namespace's; /sys still shows the caller's devices.
func (ns *Namespace) Start(cmd *exec.Cmd) error { return ns.Do(cmd.Start) }

// onThread runs f on a locked thread which goes back to its namespace after it.
// A thread that cannot go back ends with its goroutine instead of being reused.
func onThread(f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// /proc/PID/ns/net is the main thread's, and others judge by it where
			// this process is. With this thread locked, the next is another.
			errc <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			errc <- err
			return
		}
		defer home.Close()
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		errc <- err
	}()
	return <-errc
}

func (ns *Namespace) wrap(op, dev string, err error) error {
	where := ns.name
	if where == "" {
		where = "(current)"
	}
	if dev != "" {
		return fmt.Errorf("namespace %s: %s: %s: %w%s", where, dev, op, err, rootHint(err))
	}
	return fmt.Errorf("namespace %s: %s: %w%s", where, op, err, rootHint(err))
}

// rootHint is what to try next when the kernel said no.
func rootHint(err error) string {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return " (run it as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN)"
	}
	return ""
}
