package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// tempPrefix begins the names of all directories for temporary files of benchmarks.
const tempPrefix = "ofctl-lab-bench-"

var tempOfProcess = regexp.MustCompile(`^` + tempPrefix + `(\d+-\d+)-\d+$`)

// TempDir makes a directory for temporary files that is named after this process, so that Sweep
// removes it if nobody else does.
func TempDir() (string, error) {
	me, err := Self()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp("", tempPrefix+me.String()+"-")
}

// Sweep removes the directories of TempDir whose processes are gone: they were killed.
func Sweep() error {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for what earlier runs have left: %w", err)
	}
	var errs []error
	for _, dir := range found {
		m := tempOfProcess.FindStringSubmatch(filepath.Base(dir))
		if m == nil {
			continue // somebody else's
		}
		if o, err := ParseOwner(m[1]); err == nil && !o.Alive() {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// Owner is the process that removes what is named after it. The number alone may be another
// process's later, so its start goes with it.
type Owner struct {
	PID   int
	Start uint64 // clock ticks from the boot of the machine to its start
}

// Self is this process.
func Self() (Owner, error) {
	start, err := started(os.Getpid())
	return Owner{PID: os.Getpid(), Start: start}, err
}

// String is the owner as a part of names: digits and one "-".
func (o Owner) String() string { return fmt.Sprintf("%d-%d", o.PID, o.Start) }

// ParseOwner is the owner that String has written.
func ParseOwner(s string) (Owner, error) {
	pid, start, _ := strings.Cut(s, "-")
	n, err1 := strconv.Atoi(pid)
	at, err2 := strconv.ParseUint(start, 10, 64)
	return Owner{PID: n, Start: at}, errors.Join(err1, err2)
}

// Alive reports whether the very process still runs.
func (o Owner) Alive() bool {
	start, err := started(o.PID)
	// What cannot be told for any other reason is left alone.
	return err == nil && start == o.Start || err != nil && !errors.Is(err, os.ErrNotExist)
}

// started is field 22 of proc_pid_stat(5), the start time.
func started(pid int) (uint64, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	// The program's name is in parentheses and may contain anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("%s has no start time", file)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
