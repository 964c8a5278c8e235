package netdev

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SetSysctl writes value to /proc/sys/net/<path> as the namespace sees it, for
// instance "ipv4/conf/eth0/arp_ignore". changed is false if it held that value.
func (ns *Namespace) SetSysctl(path, value string) (changed bool, err error) {
	if !filepath.IsLocal(path) {
		return false, ns.wrap("sysctl", "", errors.New("the path "+path+" leaves /proc/sys/net"))
	}
	file := filepath.Join("/proc/sys/net", path)
	err = ns.Do(func() error {
		have, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(have)) == value {
			return nil
		}
		changed = true
		return os.WriteFile(file, []byte(value), 0o644)
	})
	if err != nil {
		return false, ns.wrap("set sysctl", "", err)
	}
	return changed, nil
}

// String is the mode as a change is reported.
func (m IPv6Mode) String() string {
	switch m {
	case IPv6Off:
		return "ipv6 off"
	case IPv6Static:
		return "ipv6 without DAD and autoconfiguration"
	default:
		return "ipv6 as is"
	}
}

// setIPv6 sets the mode of dev, which may be "default" for those to come.
func (ns *Namespace) setIPv6(dev string, mode IPv6Mode) (changed bool, err error) {
	settings := [][2]string{{"disable_ipv6", "1"}}
	if mode == IPv6Static {
		settings = [][2]string{{"accept_dad", "0"}, {"accept_ra", "0"}, {"autoconf", "0"}, {"router_solicitations", "0"}, {"disable_ipv6", "0"}}
	}
	for _, s := range settings {
		set, err := ns.SetSysctl(filepath.Join("ipv6/conf", dev, s[0]), s[1])
		if mode == IPv6Off && errors.Is(err, fs.ErrNotExist) {
			return changed, nil // a kernel without IPv6 has it off
		}
		if errors.Is(err, fs.ErrNotExist) && noIPv6() {
			return changed, ns.wrap("configure", dev, ErrNoIPv6)
		}
		if err != nil {
			return changed, err
		}
		changed = changed || set
	}
	return changed, nil
}

// ErrNoIPv6 says that the kernel has no IPv6.
var ErrNoIPv6 = errors.New("this kernel has no IPv6; boot it without ipv6.disable=1, or use IPv4 addresses only")

// noIPv6 reports whether the kernel has none. Where it is switched off, which is a setting of
// each namespace, it has.
func noIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return errors.Is(err, fs.ErrNotExist)
}

// SetDefaultIPv6 sets the mode of the interfaces created from now on.
func (ns *Namespace) SetDefaultIPv6(mode IPv6Mode) error {
	_, err := ns.setIPv6("default", mode)
	return err
}
