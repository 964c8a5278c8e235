package controller

import (
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

// announcements are port numbers that a switch has told and its database has not.
//
// Open vSwitch gives a new interface its number, tells OpenFlow (OFPT_PORT_STATUS), and
// then writes ofport down, which comes to us by way of its database server about a
// millisecond later. A guest need not wait for that. Whatever the database says of an
// interface goes before an announcement.
//
// Only the binder's goroutine uses it.
type announcements struct {
	// session is the OpenFlow session that the host has now; what was told on
	// another may have changed in between.
	session func() *openflow.Conn
	byName  map[string]portEvent
}

const (
	// maxAnnouncements bounds what a switch can make us keep with ports that its
	// database never shows.
	maxAnnouncements = 1024
	// portNameRoom is how many bytes OpenFlow has for a name (ofp_port.name, less the
	// zero at its end). A name that fills them may be the beginning of a longer one.
	portNameRoom = 15
)

// note keeps what the switch said about a port.
func (a *announcements) note(e portEvent) {
	if e.gone {
		for name, was := range a.byName {
			if was.port == e.port {
				delete(a.byName, name)
			}
		}
		return
	}
	if e.name == "" || len(e.name) >= portNameRoom {
		return
	}
	if len(a.byName) >= maxAnnouncements {
		clear(a.byName)
	}
	a.byName[e.name] = e
}

// confirm drops the announcements about interfaces that have a number, or an
// error, in the database: a later interface of that name is another port.
func (a *announcements) confirm(f *ovsdb.Facts) {
	if len(a.byName) == 0 {
		return
	}
	for _, i := range f.Interfaces {
		if i.OFPort != 0 || i.Error != "" {
			delete(a.byName, i.Name)
		}
	}
}

// number is an interface's OpenFlow number, 0 if it has none yet. A nil a knows what the
// database says.
func (a *announcements) number(i ovsdb.Interface) uint32 {
	if a == nil || i.OFPort != 0 || i.Error != "" {
		return i.OFPort
	}
	e, ok := a.byName[i.Name]
	if !ok || e.session != a.session() {
		return 0
	}
	return e.port
}
