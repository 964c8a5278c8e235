package topo

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/uuid"
)

// uuidNamespace is the name space of the UUIDs that are derived from names. It
// is part of the format: changing it changes every object's UUID.
var uuidNamespace = uuid.MustParse("6f66ce1e-3d07-5c3a-9a5e-0fc700000001")

// DeriveUUID is the UUID that an object gets when none is given: version 5
// (RFC 9562 section 5.5) over its kind and its name (a network's full name), so
// that the same topology has the same UUIDs everywhere.
func DeriveUUID(kind, name string) uuid.UUID {
	return uuid.NewSHA1(uuidNamespace, []byte(kind+" "+name))
}

// macAttempts bounds the search for a derived address that is free.
const macAttempts = 16

// DeriveMAC is the address that a port gets when none is given: locally
// administered, unicast, and a function of the port's name. Attempt is 0, or
// counts up while the address is taken in a network of the port.
func DeriveMAC(port string, attempt int) MAC {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("mac "+port+" "), uint32(attempt)))
	m := MAC(sum[:6])
	m[0] = m[0]&^0x01 | 0x02 // unicast; locally administered (IEEE 802, section 8.2)
	return m
}

// isDerivedMAC reports whether m is one that could have been derived for the port.
func isDerivedMAC(port string, m MAC) bool {
	for i := range macAttempts {
		if DeriveMAC(port, i) == m {
			return true
		}
	}
	return false
}
