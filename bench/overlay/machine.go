package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/bench/build"
	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// machineMemory is that of a machine with the test guests' image, in MiB.
const machineMemory = 192

// Machine is how a lab runs a virtual machine whose one NIC is the port, with this MTU in
// bytes: one with the kernel and the initramfs that make guest-image builds. The error says
// what this machine lacks for it, and what provides that.
func (p Port) Machine(ctx context.Context, mtu int) (lab.Machine, error) {
	if err := qemu.Prerequisites(); err != nil {
		return lab.Machine{}, fmt.Errorf("%w; make vm-deps installs it", err)
	}
	image, err := guestImage(ctx)
	if err != nil {
		return lab.Machine{}, err
	}
	name := "vm-" + p.Name()
	return lab.Machine{Host: p.Host, Machine: guest.Machine{
		Name: name, UUID: uuid.New(), Kind: "vm", Memory: machineMemory, CPUs: 1,
		Kernel: filepath.Join(image, "vmlinuz"), Initrd: filepath.Join(image, "initramfs.img"),
		Cmdline: fmt.Sprintf("console=ttyS0 hostname=%s net.%s=%s,mtu=%d", name, guestInterface,
			netip.PrefixFrom(p.Addr(), subnet.Bits()), mtu),
		DiskBus: "virtio", NICModel: "virtio", Ready: guest.ReadyAddress,
		NICs: []guest.NIC{{Name: guestInterface, Port: p.Name(), PortUUID: uuid.New(), Tap: p.Tap(), MAC: p.MAC(), MTU: mtu,
			Addresses: []netip.Addr{p.Addr()}}},
	}}, nil
}

// Tap is the name of the tap device that is the port where a virtual machine has it.
func (p Port) Tap() string { return netdev.DeviceName('t', p.Name()) }

// guestImage is the directory that make guest-image fills: beside the running program,
// which is in bin, or else (a test) in the source tree.
func guestImage(ctx context.Context) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dirs := []string{filepath.Join(filepath.Dir(self), "guest")}
	if top, err := build.Top(ctx); err == nil {
		dirs = append(dirs, filepath.Join(top, "bin", "guest"))
	}
	var errs []error
	for _, dir := range dirs {
		_, kernel := os.Stat(filepath.Join(dir, "vmlinuz"))
		_, initrd := os.Stat(filepath.Join(dir, "initramfs.img"))
		if err := errors.Join(kernel, initrd); err != nil {
			errs = append(errs, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("the image of the test guests: %w; make guest-image builds it", errs[len(errs)-1])
}

// AwaitMachine waits until a virtual machine answers at its address.
func (l *Lab) AwaitMachine(ctx context.Context, v lab.Machine) error {
	return l.labs.AwaitMachines(ctx, l.name, []string{v.Name}, nil)
}

// PowerOn starts a virtual machine that does not run, and returns when qemu does.
func (l *Lab) PowerOn(ctx context.Context, v lab.Machine) error {
	return l.labs.StartMachine(ctx, l.name, v.Name)
}

// PowerOff ends a virtual machine as a power cut does.
func (l *Lab) PowerOff(ctx context.Context, v lab.Machine) error {
	_, err := l.labs.StopMachine(ctx, l.name, v.Name, lab.AtOnce)
	return err
}

// MigrateMachine migrates a virtual machine live to another host; arrived is called when
// its tap is there, and returns when the guest may go over.
func (l *Lab) MigrateMachine(ctx context.Context, v lab.Machine, host string, arrived func(context.Context) error) (qemu.Migration, error) {
	return l.labs.MigrateMachine(ctx, l.name, v.Name, host, lab.MachineMigration{Arrived: arrived})
}

// PortUp returns when the controller has a port up: its flows are in the switches.
func (o *Overlay) PortUp(ctx context.Context, p Port) error {
	return poll(ctx, func() (string, error) {
		got, err := o.api.Port(ctx, p.Name())
		if err != nil || got.Status.State == api.StateUp {
			return "", err
		}
		return fmt.Sprintf("port %s is %s: %s", p.Name(), got.Status.State, got.Status.Message), nil
	})
}
