package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
)

// Package is the Debian package that has [Program].
const Package = "qemu-system-x86"

// Prerequisites reports what this machine lacks to run virtual machines, nil if
// nothing.
func Prerequisites() error { return lacks(Program) }

func lacks(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s is not here; install it with `apt-get install %s`", program, Package)
	}
	return nil
}

// CheckFiles reports which of the machine's images cannot be used, nil if all can.
func CheckFiles(m guest.Machine) error {
	var errs []error
	check := func(what, path string, flag int) {
		if path == "" {
			return
		}
		err := usable(path, flag)
		if err == nil {
			return
		}
		var hint string
		switch {
		case errors.Is(err, fs.ErrNotExist) && (what == "kernel" || what == "initrd"):
			hint = "; `make guest-image` builds one for tests, or correct the path in the topology file"
		case errors.Is(err, fs.ErrNotExist):
			hint = "; put it there, or correct the path in the topology file"
		}
		errs = append(errs, fmt.Errorf("guest %s: %s: %w%s", m.Name, what, err, hint))
	}
	check("kernel", m.Kernel, os.O_RDONLY)
	check("initrd", m.Initrd, os.O_RDONLY)
	check("CD image", m.CDROM, os.O_RDONLY)
	for _, d := range m.Disks {
		check("disk", d.Path, os.O_RDWR)
	}
	return errors.Join(errs...)
}

func usable(path string, flag int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	if info.Mode().IsRegular() && info.Size() == 0 {
		return fmt.Errorf("%s is empty", path)
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
