package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/datapath/offload"
)

// DefaultRoot is where labs keep their state.
const DefaultRoot = "/run/ofctl-lab/labs"

// ErrNoLab says that there is no lab of that name.
var ErrNoLab = errors.New("no such lab")

// Phase is how far a lab is.
type Phase string

// The phases.
const (
	PhaseStarting Phase = "starting" // an Up is running, or was interrupted
	PhaseUp       Phase = "up"
	PhaseStopping Phase = "stopping" // a Down is running, or was interrupted
)

// stateVersion changes with the meaning of the state file.
const stateVersion = 1

// state is the content of the state file: the spec, and all that exists because
// of it. What is created is written here first.
type state struct {
	Version    int                   `json:"version"`
	Phase      Phase                 `json:"phase"`
	Spec       Spec                  `json:"spec"`
	Namespaces []string              `json:"namespaces"`
	Management netip.Prefix          `json:"management"`
	Addresses  map[string]netip.Addr `json:"addresses"` // host → address on the management network
	Datapaths  map[string]string     `json:"datapaths"` // host → datapath type in use
	// Offloads is what was found of the datapath types in use.
	Offloads   map[string]offload.Verdict `json:"offloads,omitempty"`
	Processes  map[string]process         `json:"processes"` // "controller", "<host>/ovsdb-server" …
	Unplugged  []string                   `json:"unplugged,omitempty"`
	Halted     []string                   `json:"halted,omitempty"`     // machines that were stopped
	Supervisor *Command                   `json:"supervisor,omitempty"` // of the machines
	Accel      accel                      `json:"accel,omitzero"`
	// Migrating are the ports whose migration has begun and not ended, and to which host.
	Migrating map[string]string `json:"migrating,omitempty"`
	// HandingOver are the machines whose migration has begun and not ended, and to which host.
	HandingOver map[string]string `json:"handingOver,omitempty"`
	// Permitted is the leave that a command has given, by port, and has not taken back yet.
	Permitted map[string]Leave `json:"permitted,omitempty"`
	// Moved are the machines that have migrated since, and the host that the spec of Up gave each.
	Moved      map[string]string `json:"moved,omitempty"`
	Controller *Command          `json:"controller,omitempty"`
}

// instance is a lab being worked on under its lock.
type instance struct {
	m    *Manager
	name string
	mu   sync.Mutex // guards st, which hosts coming up side by side change
	st   state
	busy *os.File

	accelMu sync.Mutex // held while the accelerator is found
	tell    func(step string)
}

// Manager works on the labs under one state root. Its methods may be called
// concurrently, also from several processes.
type Manager struct {
	root string
	// Waits is told, by its process and command line, of another command that has worked
	// on a lab for a second while this one waits for it; once for each wait.
	Waits func(lab, holder string)
	// TakeBack takes back the leave that was given, by port: when the migration ends,
	// and should its command be killed, in the next one that works on the lab. It is
	// called under the lab's lock. What it cannot take back is left to another command.
	TakeBack func(ctx context.Context, lab string, leave map[string]Leave) error
}

// New is a Manager of the labs under root, [DefaultRoot] if empty.
func New(root string) *Manager {
	if root == "" {
		root = DefaultRoot
	}
	return &Manager{root: root}
}

// Dir is the state directory of the lab name. It goes with the lab.
func (m *Manager) Dir(name string) string { return filepath.Join(m.root, name) }

func (m *Manager) statePath(name string) string { return filepath.Join(m.Dir(name), "state.json") }

// load reads the state of a lab; the error is ErrNoLab if there is none.
func (m *Manager) load(name string) (state, error) {
	var st state
	if err := checkLabel(name); err != nil {
		return st, fmt.Errorf("lab name: %w", err)
	}
	b, err := os.ReadFile(m.statePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return st, fmt.Errorf("lab %s: %w under %s", name, ErrNoLab, m.root)
	}
	if err != nil {
		return st, fmt.Errorf("lab %s: read its state: %w", name, err)
	}
	if err := json.Unmarshal(b, &st); err != nil {
		return st, fmt.Errorf("lab %s: its state file %s is damaged: %w; delete it and the namespaces %s.*", name, m.statePath(name), err, name)
	}
	if st.Version != stateVersion || st.Spec.Name != name {
		return st, fmt.Errorf("lab %s: its state file %s is of another version (%d) or lab (%s); take it down with the program that wrote it",
			name, m.statePath(name), st.Version, st.Spec.Name)
	}
	for _, n := range st.Namespaces {
		// Names are what Down deletes; a damaged file must not reach beyond the lab.
		if !strings.HasPrefix(n, name+".") {
			return st, fmt.Errorf("lab %s: its state file %s lists the namespace %q, which is not the lab's; correct it", name, m.statePath(name), n)
		}
	}
	return st, nil
}

// saveLocked writes the state file, whole or not at all.
func (l *instance) saveLocked() error {
	b, err := json.MarshalIndent(l.st, "", "  ")
	if err == nil {
		path := l.m.statePath(l.name)
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path+".new", append(b, '\n'), 0o644))
		if err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		return fmt.Errorf("lab %s: write its state: %w", l.name, err)
	}
	return nil
}

// update changes the state and writes it.
func (l *instance) update(f func(*state)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.st)
	return l.saveLocked()
}

// lock takes the lab's lock, waiting until ctx is done for another command.
func (m *Manager) lock(ctx context.Context, name string) (*instance, error) {
	if err := checkLabel(name); err != nil {
		return nil, fmt.Errorf("lab name: %w", err)
	}
	path := filepath.Join(m.root, name+".lock")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	tell := time.NewTimer(waitsSilently)
	defer tell.Stop()
	for {
		if err := os.MkdirAll(m.root, 0o755); err != nil {
			return nil, fmt.Errorf("lab %s: %w", name, err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			continue // the last of the other labs has just gone, and the root with it
		}
		if err != nil {
			return nil, fmt.Errorf("lab %s: %w", name, err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(f, path) {
			if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
				f.Close()
				return nil, fmt.Errorf("lab %s: %w", name, err)
			}
			return &instance{m: m, name: name, busy: f}, nil
		}
		holder, _ := os.ReadFile(path)
		f.Close()
		if err == nil {
			continue // the holder has removed the file with the lab: take the new one
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("lab %s: lock %s: %w", name, path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lab %s: another command (%s) is working on it: %w; wait for it", name, processWords(holder), ctx.Err())
		case <-tell.C:
			if m.Waits != nil {
				m.Waits(name, processWords(holder))
			}
		case <-tick.C:
		}
	}
}

// waitsSilently is for how long nothing is said of a wait for another command.
const waitsSilently = time.Second

// processWords is the process that a lock file names, with its command line while it runs.
func processWords(holder []byte) string {
	pid, err := strconv.Atoi(strings.TrimSpace(string(holder)))
	if err != nil {
		return "whose process is not written down yet"
	}
	// It may have ended this very moment.
	argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(argv, []byte{0}, []byte{' '})))
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}

func sameFile(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// unlock lets others at the lab. Without a state, the lock file goes too, and
// with the last lab the root.
func (l *instance) unlock() {
	if _, err := os.Stat(l.m.statePath(l.name)); errors.Is(err, fs.ErrNotExist) {
		os.Remove(l.busy.Name())
		if l.m.root == DefaultRoot {
			// Both fail, as they should, while there is anything in them.
			os.Remove(l.m.root)
			os.Remove(filepath.Dir(l.m.root))
		}
	}
	l.busy.Close()
}

// open locks the lab and reads its state.
func (m *Manager) open(ctx context.Context, name string) (*instance, error) {
	l, err := m.lock(ctx, name)
	if err != nil {
		return nil, err
	}
	if l.st, err = m.load(name); err != nil {
		l.unlock()
		return nil, err
	}
	return l, nil
}

// Summary is a lab in a list.
type Summary struct {
	Name        string `json:"name"`
	Phase       Phase  `json:"phase"`
	Hosts       int    `json:"hosts"`
	Attachments int    `json:"attachments"`
}

// List is the labs under the root, by name. A lab whose state cannot be read is
// in the error, and the others in the list.
func (m *Manager) List() ([]Summary, error) {
	entries, err := os.ReadDir(m.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var (
		labs []Summary
		errs []error
	)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		st, err := m.load(e.Name())
		if errors.Is(err, ErrNoLab) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		labs = append(labs, Summary{e.Name(), st.Phase, len(st.Spec.Hosts), len(st.Spec.Attachments)})
	}
	slices.SortFunc(labs, func(a, b Summary) int { return strings.Compare(a.Name, b.Name) })
	return labs, errors.Join(errs...)
}

// Spec is the spec the lab was brought up with, with the changes made by Plug
// and Move since.
func (m *Manager) Spec(name string) (Spec, error) {
	st, err := m.load(name)
	return st.Spec, err
}
