package netdev

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// MaxInterfaceName is the longest interface name Linux takes, in bytes
// (IFNAMSIZ less the terminating zero).
const MaxInterfaceName = 15

// maxNamespaceName is the longest file name of Linux's file systems (NAME_MAX),
// which a namespace's name is.
const maxNamespaceName = 255

// CheckInterfaceName reports why name cannot be the name of an interface, nil
// if it can. It is stricter than the kernel: letters, digits and "_.-" only,
// so that a name is safe in a path, in a sysctl and in a shell.
func CheckInterfaceName(name string) error {
	if len(name) == 0 || len(name) > MaxInterfaceName {
		return fmt.Errorf("interface name %.40q has %d bytes; use 1 to %d", name, len(name), MaxInterfaceName)
	}
	return checkName("interface", name)
}

// CheckNamespaceName reports why name cannot be the name of a network
// namespace, nil if it can: 1 to 255 of letters, digits and "_.-", not starting
// with a dot or a dash.
func CheckNamespaceName(name string) error {
	if len(name) == 0 || len(name) > maxNamespaceName {
		return fmt.Errorf("namespace name %.40q has %d bytes; use 1 to %d", name, len(name), maxNamespaceName)
	}
	return checkName("namespace", name)
}

func checkName(kind, name string) error {
	if name[0] == '.' || name[0] == '-' {
		return fmt.Errorf("%s name %q starts with %q; start with a letter or a digit", kind, name, name[0])
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("%s name %q contains %q; use letters, digits, '_', '.' and '-'", kind, name, name[i])
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '.' || c == '-'
}

// DeviceName is the name of the host's end of what is attached for key, such as
// a port's name: the same for the same key on every host and in every run, and
// at most 15 bytes. A key of at most 13 plain characters stays readable behind
// "<prefix>-"; any other is abbreviated and made unique by 40 bits of its
// SHA-256 behind "<prefix>_". The prefix is one letter.
func DeviceName(prefix byte, key string) string {
	if len(key) > 0 && len(key) <= MaxInterfaceName-2 && checkName("", key) == nil {
		return string(prefix) + "-" + key
	}
	sum := sha256.Sum256([]byte(key))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
	readable := make([]byte, 0, MaxInterfaceName)
	for i := 0; i < len(key) && len(readable) < MaxInterfaceName-3-len(hash); i++ {
		if nameByte(key[i]) {
			readable = append(readable, key[i])
		}
	}
	return string(prefix) + "_" + string(readable) + "-" + hash
}
