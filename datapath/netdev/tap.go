package netdev

import (
	"cmp"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// tunDevice makes tap devices.
const tunDevice = "/dev/net/tun"

// ErrNoTun says that this machine has no tap devices, which virtual machines are attached by
// and every bridge of Open vSwitch's userspace datapath is made of.
var ErrNoTun = errors.New("there is no " + tunDevice + "; load it with `modprobe tun`, or give this container the device")

// CheckTun is ErrNoTun if this machine has no tap devices.
func CheckTun() error {
	if _, err := os.Stat(tunDevice); errors.Is(err, fs.ErrNotExist) {
		return ErrNoTun
	}
	return nil
}

// noTun is the error of a tap device that could not be made, as ErrNoTun if that is why.
func noTun(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return cmp.Or(CheckTun(), err)
}

// OpenTap creates the tap device dev, which lives as long as the file it returns,
// or a copy of it in another process, is open. Frames are read and written whole,
// without a header in front, so that who is behind it can leave no checksum to
// the device: the userspace datapath of Open vSwitch would pass it on as it is.
// The error is unix.EBUSY or unix.EINVAL, explained, if there is an interface of
// that name, and ErrNoTun where there are no tap devices.
func (ns *Namespace) OpenTap(dev string) (*os.File, error) {
	if err := CheckInterfaceName(dev); err != nil {
		return nil, ns.wrap("create tap", dev, err)
	}
	fd := -1
	// The ioctl creates it in the calling thread's namespace.
	err := ns.Do(func() error {
		var err error
		if fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq(dev)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_TUN_EXCL)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	err = noTun(err)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		err = errors.Join(err, errors.New("an interface has this name; rename or delete it"))
	}
	if err != nil {
		return nil, ns.wrap("create tap", dev, err)
	}
	return os.NewFile(uintptr(fd), "tap:"+dev), nil
}
