package ovsdb

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	someUUID    = "11111111-2222-3333-4444-555555555555"
	anotherUUID = "11111111-2222-3333-4444-666666666666"
)

// peer is an ovsdb-server as a test wants it: answers by method, as text; "%s" in
// an update stands for the monitor's cookie.
type peer struct {
	answers map[string]string
	// after is sent once monitor_cond_since is answered.
	after []string
}

// goodPeer does everything right.
func goodPeer(t *testing.T) *peer {
	t.Helper()
	schema, err := json.Marshal(usedSchema())
	if err != nil {
		t.Fatal(err)
	}
	return &peer{answers: map[string]string{
		"list_dbs":           `["_Server","Open_vSwitch"]`,
		"get_schema":         string(schema),
		"monitor_cond_since": `[false,"` + someUUID + `",{"Open_vSwitch":{"` + someUUID + `":{"initial":{"external_ids":["map",[["ofctl-lab-host","host1"]]]}}}}]`,
		"transact":           `[]`,
	}}
}

// serve speaks for the peer until the connection ends.
func (p *peer) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	dec := json.NewDecoder(bufio.NewReader(nc))
	for {
		var m message
		if dec.Decode(&m) != nil {
			return
		}
		if m.Method == "" {
			continue
		}
		answer, ok := p.answers[m.Method]
		switch {
		case !ok:
			continue // no answer at all
		case strings.HasPrefix(answer, "raw:"):
			answer = strings.TrimPrefix(answer, "raw:")
		case strings.HasPrefix(answer, "error:"):
			answer = fmt.Sprintf(`{"id":%s,"result":null,"error":%s}`, m.ID, strings.TrimPrefix(answer, "error:"))
		default:
			answer = fmt.Sprintf(`{"id":%s,"result":%s,"error":null}`, m.ID, answer)
		}
		if _, err := io.WriteString(nc, answer); err != nil {
			return
		}
		if m.Method != "monitor_cond_since" {
			continue
		}
		var params []json.RawMessage
		_ = json.Unmarshal(m.Params, &params)
		for _, text := range p.after {
			if _, err := io.WriteString(nc, strings.ReplaceAll(text, "%s", string(params[1]))); err != nil {
				return
			}
		}
	}
}

// accept begins a session with p.
func (p *peer) accept(t *testing.T, o Options) (*Session, error) {
	t.Helper()
	ours, theirs := socketPair(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		p.serve(theirs)
	}()
	s, err := Accept(context.Background(), ours, o)
	if err != nil {
		<-served
		return nil, err
	}
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return s, nil
}

// socketPair is a connection with room for what is on the way, as TCP has.
func socketPair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return ends[0], ends[1]
}

func update3(updates string) string {
	return `{"id":null,"method":"update3","params":[%s,"` + someUUID + `",` + updates + `]}`
}

func TestHostileHandshake(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for name, c := range map[string]struct {
		method, answer, want string
	}{
		"wrong database":         {"list_dbs", `["OVN_Southbound"]`, "OVN_Southbound"},
		"databases no list":      {"list_dbs", `{"a":1}`, "does not parse"},
		"databases null":         {"list_dbs", `null`, "serves []"},
		"database error":         {"list_dbs", `error:"not now"`, "not now"},
		"error object":           {"list_dbs", `error:{"error":"busy","details":"later"}`, "busy: later"},
		"error number":           {"list_dbs", `error:7`, "unknown form"},
		"garbage":                {"list_dbs", "raw:HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak OVSDB"},
		"binary":                 {"list_dbs", "raw:\x04\x00\x00\x08\x00\x00\x00\x01", "does not speak OVSDB"},
		"a string":               {"list_dbs", "raw:\"hello\"\n", "does not speak OVSDB"},
		"empty message":          {"list_dbs", `raw:{}`, "without a request's id"},
		"id null":                {"list_dbs", `raw:{"id":null,"result":[],"error":null}`, "never made"},
		"unknown id":             {"list_dbs", `raw:{"id":4711,"result":[],"error":null}`, "never made"},
		"half a message":         {"list_dbs", `raw:{"id":1,"resu`, "did not complete the handshake"},
		"no answer":              {"get_schema", "", "did not complete the handshake"},
		"giant message":          {"get_schema", `"` + strings.Repeat(long, 64) + `"`, "more than 131072 bytes"},
		"deep message":           {"get_schema", "raw:" + strings.Repeat("[", 100_000), "does not speak OVSDB"},
		"schema of another":      {"get_schema", `{"name":"hardware_vtep","version":"1"}`, "hardware_vtep"},
		"schema without tables":  {"get_schema", `{"name":"Open_vSwitch","version":"7.0.0"}`, "no column"},
		"schema null":            {"get_schema", `null`, "schema"},
		"schema of other types":  {"get_schema", `{"name":"Open_vSwitch","tables":{"Open_vSwitch":[]}}`, "does not parse"},
		"old Open vSwitch":       {"monitor_cond_since", `error:"unknown method"`, "2.12"},
		"monitor no list":        {"monitor_cond_since", `{}`, "three parts"},
		"monitor without root":   {"monitor_cond_since", `[false,"` + someUUID + `",{}]`, "0 rows"},
		"monitor of other table": {"monitor_cond_since", `[false,"` + someUUID + `",{"SSL":{}}]`, "not monitored"},
		"update unasked":         {"list_dbs", `raw:{"id":null,"method":"update3","params":[["a"],"` + someUUID + `",{}]}`, "no such monitor"},
		"update of version 1":    {"list_dbs", `raw:{"id":null,"method":"update","params":[]}`, "a call of \"update\""},
		"echo without id":        {"list_dbs", `raw:{"method":"echo","params":[]}`, "without id"},
		"stolen lock":            {"list_dbs", `raw:{"id":null,"method":"stolen","params":["x"]}`, "stolen"},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodPeer(t)
			p.answers[c.method] = c.answer
			if c.answer == "" {
				delete(p.answers, c.method)
			}
			o := Options{MaxMessage: 128 << 10, Handshake: 10 * time.Second}
			if strings.Contains(c.want, "handshake") {
				o.Handshake = 50 * time.Millisecond
			}
			_, err := p.accept(t, o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "session with local peer") {
				t.Errorf("%v does not say %q and name the peer", err, c.want)
			}
		})
	}
}

func TestHostileUpdates(t *testing.T) {
	row := func(table, update string) string {
		return update3(`{"` + table + `":{"` + anotherUUID + `":` + update + `}}`)
	}
	for name, c := range map[string]struct{ update, want string }{
		"modify of no row":        {row("Bridge", `{"modify":{"name":"x"}}`), "does not exist"},
		"delete of no row":        {row("Bridge", `{"delete":null}`), "does not exist"},
		"null row":                {row("Bridge", `null`), "without content"},
		"two kinds":               {row("Bridge", `{"insert":{},"modify":{}}`), "both"},
		"unknown column":          {row("Bridge", `{"insert":{"colour":"red"}}`), "not monitored"},
		"name a number":           {row("Bridge", `{"insert":{"name":7}}`), "no string"},
		"name null":               {row("Bridge", `{"insert":{"name":null}}`), "no string"},
		"name a set":              {row("Bridge", `{"insert":{"name":["set",["a"]]}}`), "no string"},
		"two datapath ids":        {row("Bridge", `{"insert":{"datapath_id":["set",["a","b"]]}}`), "2 values"},
		"ports empty list":        {row("Bridge", `{"insert":{"ports":[]}}`), "no uuid"},
		"ports odd set":           {row("Bridge", `{"insert":{"ports":["set"]}}`), "no uuid"},
		"ports no uuid":           {row("Bridge", `{"insert":{"ports":["uuid","x"]}}`), "no uuid"},
		"ports named":             {row("Bridge", `{"insert":{"ports":["named-uuid","x"]}}`), "no uuid"},
		"ports uuid alone":        {row("Bridge", `{"insert":{"ports":["uuid"]}}`), "no uuid"},
		"map odd":                 {row("Interface", `{"insert":{"options":["map",[["a"]]]}}`), "no pair"},
		"map of sets":             {row("Interface", `{"insert":{"options":["map",[["a",["set",[]]]]]}}`), "no string"},
		"map a string":            {row("Interface", `{"insert":{"options":"a"}}`), "no map"},
		"ofport a fraction":       {row("Interface", `{"insert":{"ofport":1.5}}`), "no integer"},
		"ofport enormous":         {row("Interface", `{"insert":{"ofport":1e300}}`), "no integer"},
		"row id no UUID":          {update3(`{"Bridge":{"x":{"insert":{}}}}`), "not a UUID"},
		"table no object":         {update3(`{"Bridge":[]}`), "do not parse"},
		"updates null parameters": {`{"id":null,"method":"update3","params":null}`, "three parameters"},
		"wrong cookie":            {`{"id":null,"method":"update3","params":[{"databaseName":"Open_vSwitch","id":"x"},"` + someUUID + `",{}]}`, "no such monitor"},
		"root row deleted":        {update3(`{"Open_vSwitch":{"` + someUUID + `":{"delete":null}}}`), "0 rows"},
		"second root row":         {row("Open_vSwitch", `{"insert":{}}`), "2 rows"},
		"too many rows":           {update3(manyRows(101)), "more than the 100 allowed"},
		"closing":                 {update3(`{}`) + "\x00", "does not speak OVSDB"},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodPeer(t)
			p.after = []string{c.update}
			s, err := p.accept(t, Options{MaxRows: 100})
			if err == nil {
				err = ended(t, s)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "session with local peer") {
				t.Errorf("%v does not say %q and name the peer", err, c.want)
			}
		})
	}
}

func manyRows(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = fmt.Sprintf(`"11111111-2222-3333-4444-%012d":{"insert":{}}`, i)
	}
	return `{"Bridge":{` + strings.Join(rows, ",") + `}}`
}

// Odd but legal, and must not end the session.
func TestUnusualUpdates(t *testing.T) {
	p := goodPeer(t)
	iface, port := anotherUUID, "11111111-2222-3333-4444-777777777777"
	bridge := "11111111-2222-3333-4444-888888888888"
	p.after = []string{
		`{"id":"echo","method":"echo","params":[]}`,
		update3(`{"Interface":{"` + iface + `":{"insert":{"name":"tap0","ofport":-1,"external_ids":["map",[["iface-id","red-a"]]]}},` +
			`"` + someUUID + `":{"insert":{"name":"elsewhere"}}},` +
			`"Port":{"` + port + `":{"insert":{"interfaces":["uuid","` + iface + `"]}}},` +
			`"Bridge":{"` + bridge + `":{"insert":{"name":"br-int","datapath_id":"zzz","ports":["set",[["uuid","` + port + `"],["uuid","` + bridge + `"]]]}}},` +
			`"Open_vSwitch":{"` + someUUID + `":{"modify":{"bridges":["set",[["uuid","` + bridge + `"],["uuid","` + port + `"]]]}}}}`),
		update3(`{"Interface":{"` + iface + `":{"modify":{"ofport":65280}}}}`),
		update3(`{"Interface":{"` + iface + `":{"modify":{"external_ids":["map",[["iface-id","red-b"]]],"mtu":["set",[1458]]}}}}`),
	}
	s, err := p.accept(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := until(t, s, "the last update", func(f *Facts) bool { i, _ := byName(f, "tap0"); return i.MTU == 1458 })
	i, _ := byName(f, "tap0")
	if i.OFPort != 0 || i.Error == "" || i.IfaceID != "red-b" || len(f.Interfaces) != 1 || f.Bridge.DatapathID != 0 {
		t.Errorf("facts %+v", f)
	}
}

func TestHostileTransactions(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"no results":        {`[]`, "which configuration"},
		"null":              {`null`, "which configuration"},
		"no list":           {`{}`, "does not parse"},
		"error":             {`error:"no"`, "no"},
		"refused":           {`[{},{},{"error":"constraint violation","details":"name"},null,null,null,null,null]`, "constraint violation: name"},
		"uuid alone":        {`[{"uuid":["uuid"]}]`, "no uuid"},
		"rows of no number": {`[{},{},{},{},{},{},{},{},{"rows":[{"next_cfg":"x"}]},{}]`, "no integer"},
		"no row":            {`[{},{},{},{},{},{},{"rows":[]},{}]`, "which configuration"},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodPeer(t)
			p.answers["transact"] = c.answer
			s, err := p.accept(t, Options{ApplyTimeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			want := spec()
			want.DatapathType = "netdev"
			err = s.Ensure(context.Background(), want)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
}

func TestSilentAndDeafPeers(t *testing.T) {
	quick := Options{ProbeInterval: 20 * time.Millisecond, DeadAfter: 100 * time.Millisecond}
	p := goodPeer(t) // does not answer a probe
	s, err := p.accept(t, quick)
	if err == nil { // a slow machine may not even get so far
		err = ended(t, s)
	}
	if !strings.Contains(err.Error(), "nothing complete was heard") {
		t.Error(err)
	}

	// One that answers stays, for longer than a silent one may. Where it is the machine that
	// does not answer in time, it gets more.
	for o := quick; ; o.DeadAfter *= 4 {
		p = goodPeer(t)
		p.answers["echo"] = "[]"
		if s, err = p.accept(t, o); err == nil {
			select {
			case <-s.Done():
				err = s.Err()
			case <-time.After(3 * o.DeadAfter):
			}
		}
		if err == nil {
			break
		}
		if o.DeadAfter > 5*time.Second {
			t.Fatalf("a session with a live peer ended: %v", err)
		}
	}

	ours, theirs := socketPair(t) // reads nothing
	defer func() { _ = theirs.Close() }()
	if _, err := Accept(context.Background(), ours, Options{DeadAfter: 50 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "local peer") {
		t.Error(err)
	}

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	ours, theirs = socketPair(t)
	defer func() { _ = theirs.Close() }()
	if _, err := Accept(ended, ours, Options{}); err == nil {
		t.Error("accepted after the end")
	}
	if _, err := ours.Write([]byte("x")); err == nil {
		t.Error("Accept failed and left the connection open")
	}
}

// The socket that the library dials goes with the dialling.
func TestNothingLeftBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if _, err := goodPeer(t).accept(t, Options{}); err != nil {
		t.Fatal(err)
	}
	p := goodPeer(t)
	p.answers["list_dbs"] = `[]`
	if _, err := p.accept(t, Options{}); err == nil {
		t.Fatal("a host without databases was accepted")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v, %v", left, err)
	}
}

// Whatever a host says after a good beginning, the session ends with an error or goes on.
func FuzzSession(f *testing.F) {
	f.Add(update3(`{"Bridge":{"` + anotherUUID + `":{"insert":{"name":"br-int","ports":["set",[]]}}}}`))
	f.Add(update3(`{"Open_vSwitch":{"` + someUUID + `":{"modify":{"bridges":["uuid","` + anotherUUID + `"]}}}}`))
	f.Add(`{"id":3,"result":null,"error":null}`)
	f.Add(`{"id":"echo","method":"echo","params":[1]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p := goodPeer(t)
		p.after = []string{text, text}
		s, err := p.accept(t, Options{Handshake: time.Second})
		if err != nil {
			return
		}
		want := spec()
		want.DatapathType = "netdev"
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if s.Ensure(ctx, want) == nil {
			t.Error("a peer that does nothing has applied everything")
		}
	})
}
