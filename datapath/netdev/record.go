package netdev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"unicode"
)

// maxRecord bounds what ParseRecord reads, in bytes; hundreds of addresses fit.
const maxRecord = 32 << 10

// record is an attachment as text. The port's name is not in it: the switch has it
// as the iface-id. Offloads are not either: what is right for them follows from the
// datapath, which may be another one after a reboot.
type record struct {
	Namespace string         `json:"netns,omitempty"`
	Interface string         `json:"interface,omitempty"`
	Tap       bool           `json:"tap,omitempty"`
	MAC       string         `json:"mac,omitempty"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	MTU       int            `json:"mtu,omitempty"`
}

// Record is the attachment as text, from which [ParseRecord] makes it again.
func (a Attachment) Record() (string, error) {
	if err := a.Check(); err != nil {
		return "", err
	}
	r := record{Namespace: a.Namespace, Tap: a.Namespace == "", MAC: a.MAC.String(), Addresses: a.Addresses, MTU: a.MTU}
	if !r.Tap {
		r.Interface = a.guest()
	}
	text, err := json.Marshal(r)
	if err == nil && len(text) > maxRecord {
		err = fmt.Errorf("its record has %d bytes, more than %d: it has too many addresses", len(text), maxRecord)
	}
	if err != nil {
		return "", fmt.Errorf("attach %s: %w", a.Port, err)
	}
	return string(text), nil
}

// ParseRecord is the attachment of a port that Record has written. The text comes
// from a database that others write too, so everything in it is checked, and what
// this version does not know is refused: half an attachment would be a wrong one.
func ParseRecord(port, text string) (Attachment, error) {
	if len(text) > maxRecord {
		return Attachment{}, fmt.Errorf("attachment of %.64q: its record has %d bytes; at most %d are read", port, len(text), maxRecord)
	}
	if strings.ContainsFunc(port, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Attachment{}, fmt.Errorf("attachment of %.64q: that is no port's name", port)
	}
	var r record
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&r)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more behind its end")
		}
	}
	if err == nil && r.Tap == (r.Namespace != "") {
		err = errors.New("it must have either a netns or a tap")
	}
	if err == nil && r.Tap && (r.Interface != "" || r.MAC != "") {
		err = errors.New("interface and mac are of a namespace, and it has a tap")
	}
	a := Attachment{Port: port, Namespace: r.Namespace, Interface: r.Interface, Addresses: r.Addresses, MTU: r.MTU}
	if err == nil && r.MAC != "" {
		a.MAC, err = net.ParseMAC(r.MAC)
	}
	if err != nil {
		return Attachment{}, fmt.Errorf("attachment of %.64q: its record is not one of attach: %w", port, err)
	}
	return a, a.Check()
}
