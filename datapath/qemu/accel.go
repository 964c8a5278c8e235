package qemu

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// probeTimeout bounds each probe. One takes a few hundredths of a second where
// the accelerator works.
const probeTimeout = 5 * time.Second

// The probe is a machine with the program of testdata/probe.S as its firmware:
// it enters 64-bit mode with paging, writes memory for a while, and ends qemu with
// an exit code of its choice. Nested KVM is known to start, to run 16-bit code and
// to hang there, which neither /dev/kvm nor QMP shows.
const (
	probeCode  = "fa31c08ed0bc00708ec0fcbf0010b90018f3ab26c7060010032026c7060020033026c706003083002e660f0116900066b8200000000f22e066b8001000000f22d866b9800000c00f32660d000100000f300f20c0660d010000800f22c066ea65000f000800b9a086010048ff042500800000ffc975f4b015e6f4f4ebfd8d7400000000000000000000000000009a20000f0080000f"
	probeReset = "ea000000f0" // at the reset vector: jump to the code
	probePort  = 0xf4
	probeExit  = 0x15<<1 | 1 // what isa-debug-exit makes of the code's 0x15
	romSize    = 1 << 16
	resetAt    = romSize - 16
)

// FindAccel is KVM where it works, which is found by trying it, else TCG; then
// note says why, in words for people.
func FindAccel(ctx context.Context) (found Accel, note string, err error) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return TCG, "there is no /dev/kvm: guests run under TCG, much slower", nil
	}
	err = Probe(ctx, KVM)
	switch {
	case err == nil:
		return KVM, "", nil
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	}
	return TCG, fmt.Sprintf("KVM does not work here (%v): guests run under TCG, much slower", err), nil
}

// Probe runs a tiny machine with the accelerator, and is an error if that does
// not come to its end within five seconds.
func Probe(ctx context.Context, a Accel) error {
	if err := Prerequisites(); err != nil {
		return err
	}
	rom, err := probeROM()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ofctl-lab-probe")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "rom")
	if err := os.WriteFile(path, rom, 0o600); err != nil {
		return err
	}
	pctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmd := exec.CommandContext(pctx, Program, "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "pc", "-accel", string(a), "-m", "16", "-bios", path,
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", probePort))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == probeExit:
		return nil
	case pctx.Err() != nil:
		return fmt.Errorf("a tiny machine hung for %s", probeTimeout)
	case err == nil:
		return errors.New("a tiny machine ended too early")
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		if len(text) > 300 {
			text = "…" + text[len(text)-300:]
		}
		return errors.New(text)
	}
	return err
}

func probeROM() ([]byte, error) {
	code, err := hex.DecodeString(probeCode)
	if err != nil {
		return nil, err
	}
	reset, err := hex.DecodeString(probeReset)
	if err != nil {
		return nil, err
	}
	rom := make([]byte, romSize)
	copy(rom, code)
	copy(rom[resetAt:], reset)
	return rom, nil
}
