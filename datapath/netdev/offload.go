package netdev

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The get and set commands of the ethtool ioctl for single features
// (linux/ethtool.h). The kernel's netlink interface for the same would need a
// session of its own to resolve feature names; these numbers are ABI.
var offloads = []struct {
	name     string
	get, set uint32
}{
	{"tx checksum", 0x16, 0x17},
	{"TSO", 0x1e, 0x1f},
	{"GSO", 0x23, 0x24},
	{nameGRO, 0x2b, 0x2c},
}

const nameGRO = "GRO"

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct {
	cmd, data uint32
}

// ifreqData is struct ifreq with a pointer in its union.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// OffloadMode is what an interface may leave to its device: checksums of what it
// sends, segmentation, and the aggregation of what it receives.
type OffloadMode uint8

// The offload modes. The zero value leaves them as they are.
const (
	OffloadsAsIs OffloadMode = iota
	// OffloadsOff is needed on both ends of every veth behind a datapath that
	// passes frames on without the checksum that their sender has left to the
	// device: TCP and UDP arrive with wrong ones. Package offload finds out.
	OffloadsOff
	// OffloadsOn is as the kernel makes a veth: all on but the aggregation, which
	// is left as it is.
	OffloadsOn
)

// String is the mode as a change is reported.
func (m OffloadMode) String() string {
	switch m {
	case OffloadsOff:
		return "offloads off"
	case OffloadsOn:
		return "offloads on"
	default:
		return "offloads as they are"
	}
}

// setOffloads turns the offloads of dev on or off, where they are not so already.
func (ns *Namespace) setOffloads(dev string, mode OffloadMode) (changed bool, err error) {
	var fd int
	err = ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return false, ns.wrap("set "+mode.String(), dev, err)
	}
	defer unix.Close(fd)
	want := uint32(0)
	if mode == OffloadsOn {
		want = 1
	}
	for _, o := range offloads {
		if mode == OffloadsOn && o.name == nameGRO {
			continue
		}
		v := ethtoolValue{cmd: o.get}
		if err := ethtool(fd, dev, &v); errors.Is(err, unix.EOPNOTSUPP) || err == nil && v.data == want {
			continue
		} else if err != nil {
			return changed, ns.wrap("read "+o.name+" offload", dev, err)
		}
		if err := ethtool(fd, dev, &ethtoolValue{cmd: o.set, data: want}); err != nil {
			return changed, ns.wrap(fmt.Sprintf("set %s: %s", mode, o.name), dev, err)
		}
		changed = true
	}
	return changed, nil
}

func ethtool(fd int, dev string, v *ethtoolValue) error {
	req := ifreqData{data: unsafe.Pointer(v)}
	copy(req.name[:unix.IFNAMSIZ-1], dev)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(v)
	if errno != 0 {
		return errno
	}
	return nil
}
