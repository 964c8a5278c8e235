package harness

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ofctl-lab/ofctl-lab/bench/proc"
)

// Environment is the machine and the software of a run. Nothing in it names a host, a user or a path.
// What could not be found out is empty or 0.
type Environment struct {
	Version      string `json:"version"` // of ofctl-lab
	CPU          string `json:"cpu"`     // model
	Cores        int    `json:"cores"`   // online
	GOMAXPROCS   int    `json:"gomaxprocs"`
	Affinity     string `json:"affinity"`     // the processors that the run may use, as in taskset -c
	MemoryBytes  uint64 `json:"memory_bytes"` // of the machine
	Kernel       string `json:"kernel"`
	Distribution string `json:"distribution"`
	Go           string `json:"go"`
	OpenVSwitch  string `json:"open_vswitch"` // of ovs-vswitchd
	Datapath     string `json:"datapath"`     // datapath_type of the bridges
}

// Conditions are what the machine did during a run.
type Conditions struct {
	Began   time.Time `json:"began"`   // UTC
	Seconds float64   `json:"seconds"` // that it took, without setting up
	// LoadBefore and LoadAfter are the load averages of one minute.
	LoadBefore float64 `json:"load_before"`
	LoadAfter  float64 `json:"load_after"`
	// Steal and IOWait are shares of the processors' time, 0 … 1: what the hypervisor gave to others,
	// and what was idle for a disk.
	Steal  float64 `json:"steal"`
	IOWait float64 `json:"iowait"`
	Noise  Noise   `json:"noise"`
}

// versionTimeout bounds the question for a program's version.
const versionTimeout = 5 * time.Second

// readEnvironment finds out what it can: a benchmark should not fail because a machine
// lacks a file that names its distribution.
func readEnvironment(ctx context.Context, version string) Environment {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	vswitchd, err := proc.Version(ctx, "ovs-vswitchd")
	if err != nil {
		vswitchd = ""
	}
	return Environment{
		Version: cmp.Or(version, buildVersion()), CPU: fileField("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Affinity: affinity(), MemoryBytes: memory(), Kernel: kernel(),
		Distribution: distribution(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		OpenVSwitch: vswitchd, Datapath: "netdev",
	}
}

// buildVersion is what the Go tools have written into this program: the commit, or less.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			version += " " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			version += " modified"
		}
	}
	return version
}

// fileField is the value of the first line "name : value" of a file.
func fileField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		key, value, found := strings.Cut(string(line), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memory() uint64 {
	kb, err := strconv.ParseUint(strings.TrimSuffix(fileField("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kb * 1024
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

// distribution is the name of the distribution, with the point release where Debian tells it.
func distribution() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	name := ""
	for line := range bytes.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(string(line)), "PRETTY_NAME="); found {
			name = strings.Trim(value, `"'`)
		}
	}
	if release, err := os.ReadFile("/etc/debian_version"); err == nil && strings.HasPrefix(name, "Debian") {
		name += " (" + strings.TrimSpace(string(release)) + ")"
	}
	return name
}

// affinity are the processors that this process may use, for example 0-3,6.
func affinity() string {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return ""
	}
	var runs []string
	for cpu := 0; cpu < 64*len(set); cpu++ {
		if !set.IsSet(cpu) {
			continue
		}
		first := cpu
		for set.IsSet(cpu + 1) {
			cpu++
		}
		if first == cpu {
			runs = append(runs, strconv.Itoa(cpu))
		} else {
			runs = append(runs, fmt.Sprintf("%d-%d", first, cpu))
		}
	}
	return strings.Join(runs, ",")
}

// usage is the load of the machine and the time of all its processors since it started.
type usage struct {
	load                 float64
	total, steal, iowait uint64 // ticks
}

func readUsage() (usage, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return usage{}, fmt.Errorf("load average: %w", err)
	}
	var u usage
	if _, err := fmt.Sscan(string(text), &u.load); err != nil {
		return usage{}, fmt.Errorf("load average: %q in /proc/loadavg: %w", text, err)
	}
	f, err := os.Open("/proc/stat")
	if err != nil {
		return usage{}, fmt.Errorf("time of the processors: %w", err)
	}
	defer f.Close()
	line := bufio.NewScanner(f)
	line.Scan()
	// cpu user nice system idle iowait irq softirq steal guest guest_nice (proc(5));
	// the last two are part of the first two.
	fields := strings.Fields(line.Text())
	if len(fields) < 9 || fields[0] != "cpu" {
		return usage{}, fmt.Errorf("time of the processors: %q is not the first line of /proc/stat", line.Text())
	}
	for i, field := range fields[1:9] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("time of the processors: /proc/stat: %w", err)
		}
		u.total += n
		switch i {
		case 4:
			u.iowait = n
		case 7:
			u.steal = n
		}
	}
	return u, nil
}

// shares are what has been stolen and waited since before, of all time. The counters of iowait
// may fall (proc(5)); that counts as none.
func (u usage) shares(before usage) (steal, iowait float64) {
	if u.total <= before.total {
		return 0, 0
	}
	total := float64(u.total - before.total)
	return float64(u.steal-min(u.steal, before.steal)) / total, float64(u.iowait-min(u.iowait, before.iowait)) / total
}
