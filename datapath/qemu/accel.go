package qemu

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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
// to hang there, which neither /dev/kvm nor QMP shows. Its CPU is that of every machine,
// since qemu is known to end ("failed to set MSR") only with the host's own.
const (
	probeCode  = "fa31c08ed0bc00708ec0fcbf0010b90018f3ab26c7060010032026c7060020033026c706003083002e660f0116900066b8200000000f22e066b8001000000f22d866b9800000c00f32660d000100000f300f20c0660d010000800f22c066ea65000f000800b9a086010048ff042500800000ffc975f4b015e6f4f4ebfd8d7400000000000000000000000000009a20000f0080000f"
	probeReset = "ea000000f0" // at the reset vector: jump to the code
	probePort  = 0xf4
	probeExit  = 0x15<<1 | 1 // what isa-debug-exit makes of the code's 0x15
	romSize    = 1 << 16
	resetAt    = romSize - 16
)

// kvmDevice is the device file of KVM.
const kvmDevice = "/dev/kvm"

// ErrNoKVM says that KVM cannot be used on this machine.
var ErrNoKVM = errors.New("this machine has no working KVM")

// FindAccel is KVM where it works, which is found by trying it, else TCG; then
// note says why, in words for people.
func FindAccel(ctx context.Context) (found Accel, note string, err error) {
	return here().find(ctx)
}

// CheckKVM tries whether KVM works on this machine. The error is ErrNoKVM if it does
// not, with the reason: there is no /dev/kvm, it cannot be opened (the error is then
// [fs.ErrPermission] too if another user could), or a machine does not run in it.
func CheckKVM(ctx context.Context) error { return here().checkKVM(ctx) }

// Probe runs a tiny machine with the accelerator, and is an error if that does
// not come to its end within five seconds.
func Probe(ctx context.Context, a Accel) error { return here().probe(ctx, a) }

// prober finds out what works on a machine.
type prober struct {
	device  string        // of KVM
	program string        // qemu
	timeout time.Duration // of each probe
}

// here is the prober of this machine.
func here() prober { return prober{device: kvmDevice, program: Program, timeout: probeTimeout} }

func (p prober) find(ctx context.Context) (found Accel, note string, err error) {
	err = p.checkKVM(ctx)
	switch {
	case err == nil:
		return KVM, "", nil
	case errors.Is(err, ErrNoKVM):
		return TCG, fmt.Sprintf("%v; guests run under TCG, much slower", err), nil
	}
	return "", "", err
}

func (p prober) checkKVM(ctx context.Context) error {
	f, err := os.OpenFile(p.device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s", ErrNoKVM, p.device)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w that this user may use: %w; run it with sudo, or as a member of the group kvm", ErrNoKVM, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoKVM, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoKVM, err)
	}
	err = p.probe(ctx, KVM)
	if _, refused := errors.AsType[refusal](err); refused {
		return fmt.Errorf("%w: %w", ErrNoKVM, err)
	}
	return err
}

// refusal says that an accelerator did not run the tiny machine to its end; other
// errors of a probe are not about the accelerator.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func (p prober) probe(ctx context.Context, a Accel) error {
	if err := lacks(p.program); err != nil {
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
	pctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	cmd := exec.CommandContext(pctx, p.program, "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "pc", "-accel", string(a), "-cpu", cpuModel(a), "-m", "16", "-bios", path,
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
		return refusal{fmt.Errorf("a tiny machine hung in it for %s", p.timeout)}
	case err == nil:
		return refusal{errors.New("a tiny machine ended too early")}
	case exit == nil:
		return err // qemu was not even started
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		if len(text) > 300 {
			text = "…" + text[len(text)-300:]
		}
		err = errors.New(text)
	}
	return refusal{err}
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
