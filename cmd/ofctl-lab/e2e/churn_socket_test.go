package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
)

// jsonSocket asks a daemon of Open vSwitch over its unix socket: ovsdb-server (RFC 7047)
// or what ovs-appctl speaks to. A program for each question would cost ten times a
// step's time.
type jsonSocket struct {
	conn net.Conn
	dec  *json.Decoder
	id   int
}

func openJSON(t *testing.T, path string) *jsonSocket {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &jsonSocket{conn: conn, dec: json.NewDecoder(conn)}
}

// ask makes one call and puts the result into result.
func (s *jsonSocket) ask(method string, result any, params ...any) error {
	s.id++
	if params == nil {
		params = []any{}
	}
	if err := json.NewEncoder(s.conn).Encode(map[string]any{"method": method, "params": params, "id": s.id}); err != nil {
		return err
	}
	var answer struct {
		ID     any             `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  any             `json:"error"`
	}
	if err := s.dec.Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %v", method, answer.Error)
	}
	return json.Unmarshal(answer.Result, result)
}

// setIfaceIDs gives interfaces of a host other iface-ids, in one transaction; an empty
// one takes it away.
func (s *jsonSocket) setIfaceIDs(ids map[string]string) error {
	ops := []any{"Open_vSwitch"}
	for dev, id := range ids {
		mutations := []any{[]any{"external_ids", "delete", []any{"set", []any{"iface-id"}}}}
		if id != "" {
			mutations = append(mutations, []any{"external_ids", "insert", []any{"map", []any{[]any{"iface-id", id}}}})
		}
		ops = append(ops, map[string]any{"op": "mutate", "table": "Interface", "where": []any{[]any{"name", "==", dev}}, "mutations": mutations})
	}
	var done []struct {
		Count int    `json:"count"`
		Error string `json:"error"`
	}
	if err := s.ask("transact", &done, ops...); err != nil {
		return err
	}
	for _, d := range done {
		if d.Error != "" || d.Count != 1 {
			return fmt.Errorf("ovsdb: %+v", done)
		}
	}
	return nil
}

// follow has a switch's datapath forward by the flows that there are now: userspace's forgets
// what it has cached, and the kernel's cache is held against the flows. A round of that which
// has begun before is not enough.
func (s *jsonSocket) follow(kernel bool) error {
	commands := []string{"revalidator/purge"}
	if kernel {
		commands = []string{"revalidator/wait", "revalidator/wait"}
	}
	for _, command := range commands {
		var nothing any
		if err := s.ask(command, &nothing); err != nil {
			return err
		}
	}
	return nil
}

// cached is what a switch's datapath has cached that sends to a device.
func (s *jsonSocket) cached(device string) string {
	var all string
	if err := s.ask("dpctl/dump-flows", &all, "-m"); err != nil {
		return err.Error()
	}
	var out []string
	for line := range strings.Lines(all) {
		if _, actions, _ := strings.Cut(line, "actions:"); strings.Contains(actions, device) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// hostSockets are the sockets of one host's Open vSwitch.
type hostSockets struct {
	db, vswitchd *jsonSocket
	openflow     *openflow.Conn
}

func (l *testLab) sockets(t *testing.T, host string) *hostSockets {
	t.Helper()
	db := l.m.DatabaseSocket(l.name, host)
	dir := filepath.Dir(db)
	pid, err := os.ReadFile(filepath.Join(dir, "ovs-vswitchd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	s := &hostSockets{db: openJSON(t, db), vswitchd: openJSON(t, filepath.Join(dir, "ovs-vswitchd."+strings.TrimSpace(string(pid))+".ctl"))}
	nc, err := net.Dial("unix", filepath.Join(dir, lab.IntegrationBridge+".mgmt"))
	if err != nil {
		t.Fatal(err)
	}
	if s.openflow, err = openflow.Connect(t.Context(), nc, openflow.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.openflow.Close() })
	return s
}
