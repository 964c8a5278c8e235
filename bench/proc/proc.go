// Package proc reads what processes cost: processor time and memory. It also asks programs for their version.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime is the user and system time that all threads of the process pid have used, those
// that ended among them, in nanoseconds. Its children are not counted.
func CPUTime(pid int) (time.Duration, error) {
	if pid <= 0 {
		return 0, fmt.Errorf("CPU time: %d is no process", pid)
	}
	// clock_getcpuclockid(3) makes this number of a pid (linux/posix-timers_types.h). Unlike
	// /proc/PID/stat, which counts ticks of 10 ms, the clock is exact.
	const schedClock = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// TreeCPUTime is CPUTime of the process pid and of every descendant that runs, and the time of
// children that ended and were waited for (that in steps of 10 ms). A descendant that
// ends meanwhile is not an error.
func TreeCPUTime(pid int) (time.Duration, error) {
	var sum time.Duration
	err := eachOfTree(pid, func(pid int) error {
		used, err := CPUTime(pid)
		if err != nil {
			return err
		}
		waited, err := waitedTime(pid)
		sum += used + waited
		return err
	})
	return sum, err
}

// waitedTime is the time of the children that a process has waited for.
func waitedTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU time of the children: %w", err)
	}
	// Fields after the command, which is in parentheses: cutime and cstime are the
	// 16th and 17th of all (proc(5)), in ticks of 1/100 s on every Linux architecture Go runs on.
	i := bytes.LastIndex(text, []byte(") "))
	fields := strings.Fields(string(text[i+1:]))
	if i < 0 || len(fields) < 15 {
		return 0, fmt.Errorf("CPU time of the children: %q is no process status", text)
	}
	var ticks int64
	for _, f := range fields[13:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("CPU time of the children: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// PSS is the proportional set size of the process pid in bytes: its own memory, and its share of
// what it has in common with others. The kernel walks the page tables for it: some milliseconds
// for a large process, so not within a measurement.
func PSS(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == "Pss:" && fields[2] == "kB" {
			kb, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of process %d: %s: %w", pid, path, err)
			}
			return kb * 1024, nil
		}
	}
	return 0, fmt.Errorf("memory of process %d: %s has no line Pss", pid, path)
}

// TreePSS is the sum of PSS over the process pid and every descendant that runs.
func TreePSS(pid int) (uint64, error) {
	var sum uint64
	err := eachOfTree(pid, func(pid int) error {
		n, err := PSS(pid)
		sum += n
		return err
	})
	return sum, err
}

// eachOfTree calls do for a process, whose failure is the caller's, and for its descendants,
// which may end at any time.
func eachOfTree(pid int, do func(pid int) error) error {
	if err := do(pid); err != nil {
		return err
	}
	children, err := children(pid)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := eachOfTree(child, do); err != nil && !gone(err) {
			return err
		}
	}
	return nil
}

// children are those of all threads of a process.
func children(pid int) ([]int, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, fmt.Errorf("children of process %d: %w", pid, err)
	}
	var found []int
	for _, t := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("children of process %d: %w", pid, err)
		}
		for _, f := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				return nil, fmt.Errorf("children of process %d: %w", pid, err)
			}
			found = append(found, child)
		}
	}
	return found, nil
}

// gone says that a process or thread ended before it could be read. EINVAL is what its clock
// answers then.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL)
}

// Version is the first line that a program prints when it is asked with args, or without any
// with --version.
func Version(ctx context.Context, program string, args ...string) (string, error) {
	if len(args) == 0 {
		args = []string{"--version"}
	}
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", program, err)
	}
	for line := range bytes.Lines(out) {
		if text := strings.TrimSpace(string(line)); text != "" {
			return text, nil
		}
	}
	return "", fmt.Errorf("version of %s: %s %s printed nothing", program, program, strings.Join(args, " "))
}
