package netdev

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// OpenTap creates the tap device dev, which lives as long as the file it returns,
// or a copy of it in another process, is open. Frames are read and written whole,
// without a header in front, so that who is behind it can leave no checksum to
// the device: the userspace datapath of Open vSwitch would pass it on as it is.
// The error is unix.EBUSY or unix.EINVAL, explained, if there is an interface of
// that name.
func (ns *Namespace) OpenTap(dev string) (*os.File, error) {
	if err := CheckInterfaceName(dev); err != nil {
		return nil, ns.wrap("create tap", dev, err)
	}
	fd := -1
	// The ioctl creates it in the calling thread's namespace.
	err := ns.Do(func() error {
		var err error
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
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
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		err = errors.Join(err, errors.New("an interface has this name; rename or delete it"))
	}
	if err != nil {
		return nil, ns.wrap("create tap", dev, err)
	}
	return os.NewFile(uintptr(fd), "tap:"+dev), nil
}
