package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// The files of a machine, in its directory beside those of package qemu.
const (
	planFile       = "plan.json"      // what its supervisor shall run
	stateFile      = "state.json"     // what its supervisor says of it
	supervisorFile = "supervisor.log" // what its supervisor complains
	qemuLog        = "qemu.log"       // what its qemu complains
)

// machinePlan is what a machine's supervisor shall run.
type machinePlan struct {
	Machine Machine    `json:"machine"`
	Accel   qemu.Accel `json:"accel"`
	// Incoming waits for a migration instead of booting.
	Incoming bool `json:"incoming,omitempty"`
	// Before is how far the guest is that comes in.
	Before bootState `json:"before,omitzero"`
}

// bootState is how far a guest's boot is.
type bootState struct {
	Phase   MachinePhase `json:"phase"`
	Resets  int          `json:"resets,omitempty"`
	Started time.Time    `json:"started,omitzero"`
	Console time.Time    `json:"console,omitzero"`
	Frame   time.Time    `json:"frame,omitzero"`
	Ready   time.Time    `json:"ready,omitzero"`
}

func (s machineState) boot() bootState {
	return bootState{s.Phase, s.Resets, s.Started, s.Console, s.Frame, s.Ready}
}

// resume takes over how far the guest is that has come in.
func (s *machineState) resume(b bootState) {
	s.Phase, s.Resets, s.Started, s.Console, s.Frame, s.Ready = b.Phase, b.Resets, b.Started, b.Console, b.Frame, b.Ready
	if !s.executes() {
		s.Phase = MachineBooting // not known to be further
	}
}

// MachinePhase is how far a machine is.
type MachinePhase string

// The phases, in the order in which a machine that boots goes through them.
const (
	MachineStarting MachinePhase = "starting" // its taps are made, and qemu started
	MachineIncoming MachinePhase = "incoming" // it waits for its migration to end here
	MachineBooting  MachinePhase = "booting"  // qemu runs it
	MachineReady    MachinePhase = "ready"    // its sign of readiness was seen
	MachineMoved    MachinePhase = "moved"    // it has migrated from here, and is about to be removed
	MachineStopped  MachinePhase = "stopped"  // it was switched off
	MachineFailed   MachinePhase = "failed"   // it ended otherwise, or could not be started
)

// machineState is what a machine's supervisor says of it. The supervisor alone
// writes it, whole.
type machineState struct {
	Phase      MachinePhase `json:"phase"`
	Supervisor process      `json:"supervisor"`
	QEMU       process      `json:"qemu"`
	// VNC is where the screen is, in the host's namespace.
	VNC string `json:"vnc,omitempty"`
	// Plugged is when its ports were, and what follows is when it was first seen
	// to say something on its console, to send a frame, and to be ready, since it
	// was started or reset. Zero if not yet.
	Plugged time.Time `json:"plugged,omitzero"`
	Started time.Time `json:"started,omitzero"`
	Console time.Time `json:"console,omitzero"`
	Frame   time.Time `json:"frame,omitzero"`
	Ready   time.Time `json:"ready,omitzero"`
	Resets  int       `json:"resets,omitempty"`
	// Why is why it has stopped or failed, in words.
	Why string `json:"why,omitempty"`
}

// ended reports whether no qemu runs any more, nor will.
func (s machineState) ended() bool { return s.Phase == MachineStopped || s.Phase == MachineFailed }

// executes reports whether the guest runs here, booting or ready.
func (s machineState) executes() bool { return s.Phase == MachineBooting || s.Phase == MachineReady }

// writeJSON writes a file whole or not at all.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(path+".new", append(b, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readMachineState is what the supervisor says; nothing if there was none yet.
func readMachineState(dir string) (machineState, error) {
	var s machineState
	err := readJSON(filepath.Join(dir, stateFile), &s)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// consoleTail is how much of a console's end is looked at, in bytes.
const consoleTail = 2000

// consoleEnd is the last lines on a machine's console, at most n of them, fit to
// be shown: what a guest writes may be anything, and escapes for the terminal
// above all.
func consoleEnd(dir string, n int) []string {
	f, err := os.Open(filepath.Join(dir, qemu.ConsoleLog))
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > consoleTail {
		if _, err := f.Seek(-consoleTail, io.SeekEnd); err != nil {
			return nil
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, consoleTail))
	if err != nil {
		return nil
	}
	return printableLines(b, n)
}

// printableLines are the last n lines with anything on them, without escape
// sequences (ECMA-48) and control characters.
func printableLines(b []byte, n int) []string {
	var lines []string
	for line := range bytes.SplitSeq(bytes.ReplaceAll(b, []byte("\r"), []byte("\n")), []byte("\n")) {
		var text strings.Builder
		escape := false
		for _, r := range strings.ToValidUTF8(string(line), "?") {
			switch {
			case r == 0x1b:
				escape = true
			case escape:
				// A sequence ends with its first byte that is no parameter.
				escape = r == '[' || r >= '0' && r <= '?'
			case r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f):
				text.WriteRune(r)
			}
		}
		if s := strings.TrimSpace(text.String()); s != "" {
			lines = append(lines, s)
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines
}
