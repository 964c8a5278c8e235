package controller

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow/ofp13"
	"github.com/ofctl-lab/ofctl-lab/datapath/ovsdb"
)

// A port is bound by the number that the switch tells over OpenFlow, and nothing changes
// when the database shows the same.
func TestPortIsBoundBeforeTheDatabaseShowsItsNumber(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	r.show("host1", "192.168.200.20", plugged{"red-a", 0, 1}, plugged{"blue-a", 2, 0})
	r.until(r.portIs("red-a", api.StateDown))
	if err := s1.SetPort(ofp13.PortDesc{Number: 7, Name: "v-red-a"}); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateUp))
	if b := r.c.engine.load().Bindings("red-a"); len(b) != 1 || b[0].OFPort != 7 {
		t.Fatalf("red-a is bound %+v, want port 7", b)
	}
	r.until(r.holds(s1, "host1"))
	revision := r.c.engine.load().Revision()
	r.show("host1", "192.168.200.20", plugged{"red-a", 7, 1})
	r.until(r.portIs("blue-a", api.StateDown))
	if got := r.c.engine.load().Revision(); got != revision+1 {
		t.Errorf("%d commits where blue-a went and red-a's number was known", got-revision)
	}
}

// A number that the switch took away again is not bound when the database, which is
// late, shows it after all.
func TestNumberTakenBackIsNotBoundByALateDatabase(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	r.show("host1", "192.168.200.20", plugged{"red-a", 0, 1}, plugged{"blue-a", 2, 0})
	port := ofp13.PortDesc{Number: 7, Name: "v-red-a"}
	if err := s1.SetPort(port); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateUp))
	if err := s1.DeletePort(port.Number); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateDown))
	r.show("host1", "192.168.200.20", plugged{"red-a", 7, 1})
	r.until(r.portIs("blue-a", api.StateDown))
	if b := r.c.engine.load().Bindings("red-a"); len(b) != 0 {
		t.Fatalf("red-a is bound to a number that is gone: %+v", b)
	}
	if err := s1.SetPort(port); err != nil {
		t.Fatal(err)
	}
	r.until(r.portIs("red-a", api.StateUp))
}

func TestAnnouncements(t *testing.T) {
	session := &openflow.Conn{}
	iface := ovsdb.Interface{UUID: uuid.New(), Name: "tap0"}
	told := portEvent{port: 7, name: "tap0", session: session}
	for _, c := range []struct {
		name   string
		events []portEvent
		shown  ovsdb.Interface // to confirm, before iface is asked for
		iface  ovsdb.Interface
		want   uint32
	}{
		{name: "told", events: []portEvent{told}, iface: iface, want: 7},
		{name: "told of another", events: []portEvent{told}, iface: ovsdb.Interface{Name: "tap1"}},
		{name: "told again", events: []portEvent{told, {port: 8, name: "tap0", session: session}}, iface: iface, want: 8},
		{name: "gone", events: []portEvent{told, {port: 7, gone: true}}, iface: iface},
		{name: "another gone", events: []portEvent{told, {port: 8, gone: true}}, iface: iface, want: 7},
		{name: "on another session", events: []portEvent{{port: 7, name: "tap0", session: &openflow.Conn{}}}, iface: iface},
		{name: "the database goes first", events: []portEvent{told}, iface: ovsdb.Interface{Name: "tap0", OFPort: 9}, want: 9},
		{name: "an error goes first", events: []portEvent{told}, iface: ovsdb.Interface{Name: "tap0", Error: "no such device"}},
		{name: "a later row of that name", events: []portEvent{told}, shown: ovsdb.Interface{Name: "tap0", OFPort: 7}, iface: iface},
		{name: "a later row after an error", events: []portEvent{told}, shown: ovsdb.Interface{Name: "tap0", Error: "no such device"}, iface: iface},
		{name: "a name that may be cut off", events: []portEvent{{port: 7, name: "abcdefghijklmno", session: session}}, iface: ovsdb.Interface{Name: "abcdefghijklmno"}},
		{name: "the longest name", events: []portEvent{{port: 7, name: "abcdefghijklmn", session: session}}, iface: ovsdb.Interface{Name: "abcdefghijklmn"}, want: 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &announcements{session: func() *openflow.Conn { return session }, byName: map[string]portEvent{}}
			for _, e := range c.events {
				a.note(e)
			}
			if c.shown.Name != "" {
				a.confirm(&ovsdb.Facts{Interfaces: map[uuid.UUID]ovsdb.Interface{uuid.New(): c.shown}})
			}
			if got := a.number(c.iface); got != c.want {
				t.Errorf("number %d, want %d", got, c.want)
			}
		})
	}
}

func TestAnnouncementsAreBounded(t *testing.T) {
	a := &announcements{session: func() *openflow.Conn { return nil }, byName: map[string]portEvent{}}
	for i := range 5 * maxAnnouncements {
		a.note(portEvent{port: uint32(i + 1), name: fmt.Sprintf("tap%d", i)})
		if len(a.byName) > maxAnnouncements {
			t.Fatalf("%d announcements are kept", len(a.byName))
		}
	}
}
