package main

import (
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/topo"
)

// onePort is a controller that has one port, which anybody may change.
func onePort(t *testing.T, p *api.Port) *openedLab {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			p.PortSpec = api.PortSpec{}
			if err := json.NewDecoder(r.Body).Decode(&p.PortSpec); err != nil {
				t.Error(err)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(p); err != nil {
			t.Error(err)
		}
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	c, err := api.NewClient("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &openedLab{daemon: &daemon{Client: c, origin: "the test"}}
}

// What is applied while a guest migrates ends the migration at once, and stays.
func TestApplyDuringMigration(t *testing.T) {
	var p api.Port
	p.Name = "vm1-eth0"
	l, ports := onePort(t, &p), []string{"vm1-eth0"}
	var leave map[string]lab.Leave
	note := func(given map[string]lab.Leave) error {
		leave = given
		if p.MigrateTo != "" && len(given) > 0 {
			t.Errorf("what is given is noted when the port may migrate to %s already", p.MigrateTo)
		}
		return nil
	}
	want := map[string]lab.Leave{"vm1-eth0": {To: "host2"}}
	if err := l.declareMigration(t.Context(), ports, "host2", note); err != nil || !maps.Equal(leave, want) || p.MigrateTo != "host2" {
		t.Fatalf("%v, %v, %+v", leave, err, p)
	}
	// Another topology, with one more key and without migrate_to.
	p.MigrateTo, p.Netns = "", "applied"
	if err := l.awaitStandby(t.Context(), ports, "host2"); err == nil || !strings.Contains(err.Error(), "another topology was applied meanwhile") {
		t.Error(err)
	}
	if err := l.endMigrations(t.Context(), leave); err != nil || p.Netns != "applied" {
		t.Errorf("%v, %+v", err, p)
	}
	// What says migrate_to itself keeps it, and ours goes alone.
	p.MigrateTo = "host3"
	if err := l.endMigrations(t.Context(), leave); err != nil || p.MigrateTo != "host3" {
		t.Errorf("%v, %+v", err, p)
	}
	if err := l.declareMigration(t.Context(), ports, "host2", note); err == nil || !strings.Contains(err.Error(), "may migrate to host3, and not to host2") {
		t.Error(err)
	}
	p.MigrateTo = "host2"
	if err := l.endMigrations(t.Context(), leave); err != nil || p.MigrateTo != "" || p.Netns != "applied" {
		t.Errorf("%v, %+v", err, p)
	}
}

// Leave is given where the topology gives none, and what that says holds again afterwards.
func TestLeave(t *testing.T) {
	for was, given := range map[string]bool{"": true, "host3": true, "host2": false, topo.AnyHost: false} {
		var p api.Port
		p.Name, p.MigrateTo = "vm1-eth0", was
		l := onePort(t, &p)
		var leave map[string]lab.Leave
		if err := l.giveLeave(t.Context(), []string{p.Name}, "host2", func(g map[string]lab.Leave) error { leave = g; return nil }); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: "host2", false: was}[given]; p.MigrateTo != want || len(leave) > 0 != given {
			t.Errorf("from %q it may migrate to %q, and %v is noted", was, p.MigrateTo, leave)
		}
		if err := l.endMigrations(t.Context(), leave); err != nil || p.MigrateTo != was {
			t.Errorf("from %q to %q in the end: %v", was, p.MigrateTo, err)
		}
		// What cannot be written down is not given.
		no := errors.New("no")
		if err := l.giveLeave(t.Context(), []string{p.Name}, "host2", func(map[string]lab.Leave) error { return no }); !errors.Is(err, no) || p.MigrateTo != was {
			t.Errorf("from %q to %q, with %v", was, p.MigrateTo, err)
		}
	}
}
