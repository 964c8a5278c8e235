package netdev

import (
	"errors"

	"golang.org/x/sys/unix"
)

// SetOffloads turns the offloads of dev on, or all of them off. On means as the kernel makes a veth:
// transmit checksums and segmentation. GRO is left off there, since a frame of a sender with segmentation
// is large already, and collecting frames on a veth costs a detour through NAPI.
func (ns *Namespace) SetOffloads(dev string, on bool) error {
	if !on {
		_, err := ns.disableOffloads(dev)
		return err
	}
	if err := CheckInterfaceName(dev); err != nil {
		return err
	}
	var fd int
	err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return ns.wrap("turn offloads on", dev, err)
	}
	defer unix.Close(fd)
	// In the order of the table: segmentation needs checksums.
	for _, o := range offloads {
		if o.name == nameGRO {
			continue
		}
		if err := ethtool(fd, dev, &ethtoolValue{cmd: o.set, data: 1}); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return ns.wrap("turn "+o.name+" offload on", dev, err)
		}
	}
	return nil
}
