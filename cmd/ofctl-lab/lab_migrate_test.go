package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
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
	declared, err := l.declareMigration(t.Context(), ports, "host2")
	if err != nil || len(declared) != 1 || p.MigrateTo != "host2" {
		t.Fatalf("%v, %v, %+v", declared, err, p)
	}
	// Another topology, with one more key and without migrate_to.
	p.MigrateTo, p.Netns = "", "applied"
	if err := l.awaitStandby(t.Context(), ports, "host2"); err == nil || !strings.Contains(err.Error(), "another topology was applied meanwhile") {
		t.Error(err)
	}
	if err := l.endMigration(t.Context(), declared, "host2"); err != nil || p.Netns != "applied" {
		t.Errorf("%v, %+v", err, p)
	}
	// What says migrate_to itself keeps it, and ours goes alone.
	p.MigrateTo = "host3"
	if err := l.endMigration(t.Context(), declared, "host2"); err != nil || p.MigrateTo != "host3" {
		t.Errorf("%v, %+v", err, p)
	}
	if _, err := l.declareMigration(t.Context(), ports, "host2"); err == nil || !strings.Contains(err.Error(), "may migrate to host3, and not to host2") {
		t.Error(err)
	}
	p.MigrateTo = "host2"
	if err := l.endMigration(t.Context(), declared, "host2"); err != nil || p.MigrateTo != "" || p.Netns != "applied" {
		t.Errorf("%v, %+v", err, p)
	}
}
