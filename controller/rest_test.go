package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// get reads a path of the HTTP interface as it is.
func (r *rig) get(path string) (int, string) {
	r.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.c.cfg.APISocket)
	}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: deadline}).Get("http://controller" + path)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestEveryReadAnswers(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	for path, want := range map[string]string{
		"/v1/version":                            `"api":"v1"`,
		"/v1/status":                             `"topology":"two-hosts"`,
		"/v1/unclaimed":                          `"interfaces":[]`,
		"/v1/hosts":                              `"name":"host2"`,
		"/v1/hosts/host1":                        `"ready":true`,
		"/v1/hosts/host1/flows":                  `"table_name":"classify"`,
		"/v1/tenants":                            `"name":"blue"`,
		"/v1/tenants/red":                        `"ports_up":2`,
		"/v1/networks":                           `"tenant":"blue"`,
		"/v1/networks/red/web":                   `"mtu":1458`,
		"/v1/ports":                              `"state":"up"`,
		"/v1/ports/red-a":                        `"ofport":1`,
		"/v1/topology":                           `name: two-hosts`,
		"/v1/wait?timeout=1s":                    `"done":true`,
		"/v1/wait?revision=99999999&timeout=1ms": `"done":false`,
		"/openapi.json":                          `"/v1/networks/{tenant}/{name}"`,
		"/metrics":                               `ofctl_lab_host_ready{host="host1"} 1`,
	} {
		status, text := r.get(path)
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("GET %s: %d, without %s:\n%.600s", path, status, want, text)
		}
	}
}

// A dump has names for people, and beside them the text that ovs-ofctl takes back.
func TestFlowsHaveNames(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	d, err := r.client.Flows(r.ctx(), "host1")
	if err != nil {
		t.Fatal(err)
	}
	find := func(table, match string) api.Flow {
		for _, f := range d.Flows {
			if f.TableName == table && f.Match == match {
				return f
			}
		}
		t.Fatalf("no flow of %s matches %s in %+v", table, match, d.Flows)
		return api.Flow{}
	}
	f := find("output", "network=red/web,egress=red-a")
	if f.Actions != "set_field:0->vlan_tci,output:red-a" || f.Network != "red/web" || f.Tenant != "red" {
		t.Errorf("%+v", f)
	}
	if raw, err := flows.ParseFlow(f.Raw); err != nil || !strings.Contains(raw.String(), "reg2=0x1 ") {
		t.Errorf("raw %s: %v", f.Raw, err)
	}
	if f := find("flood", "network=red/web"); f.Actions != "group:red/web" {
		t.Errorf("%+v", f)
	}
	find("classify", "tun_id=1000001,in_port=ofctl-gre0,vlan_tci=0x0000/0x0fff")
	for _, g := range d.Groups {
		if g, err := flows.ParseGroup(g.Raw); err != nil || !flows.OurGroup(g.ID) {
			t.Errorf("%+v: %v", g, err)
		}
		if want := "group_id=" + g.Network + ",type=all,bucket="; !strings.HasPrefix(g.Text, want) {
			t.Errorf("%s does not start with %s", g.Text, want)
		}
	}
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	for path, status := range map[string]int{
		"/v1/hosts/nobody": 404, "/v1/ports/nobody": 404, "/v1/tenants/nobody": 404, "/v1/networks/red/nobody": 404,
		"/v1/hosts/nobody/flows": 404, "/v1/wait?timeout=11m": 422, "/v1/wait?timeout=soon": 422, "/v1/wait?revision=-1": 422,
	} {
		got, text := r.get(path)
		var p api.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || got != status || p.Status != status || p.Detail == "" {
			t.Errorf("GET %s: %d %s, want a problem document with %d", path, got, text, status)
		}
	}
	var p *api.Problem
	_, err := r.client.Apply(r.ctx(), api.TopologyBody{Name: "x.yaml", Text: "name: x\nhost: []\ntenants:\n  - {name: 'a b'}\n"})
	if !errors.As(err, &p) || p.Status != 422 || len(p.Errors) < 2 || !strings.HasPrefix(p.Errors[0].Location, "x.yaml:2:1") {
		t.Errorf("error = %v, want both mistakes with file, line and column", err)
	}
	_, err = r.client.PutPort(r.ctx(), api.PortSpec{Name: "p", Network: "red/nowhere", MAC: "nonsense"})
	if !errors.As(err, &p) || p.Status != 422 || !strings.Contains(err.Error(), "port p") {
		t.Errorf("error = %v", err)
	}
	_, err = r.client.PutPort(r.ctx(), api.PortSpec{Name: "p", Network: "red/nowhere"})
	if !errors.As(err, &p) || p.Status != 422 || !strings.Contains(err.Error(), "red/nowhere") {
		t.Errorf("error = %v", err)
	}
	if _, err = r.client.DeletePort(r.ctx(), "nobody"); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("error = %v", err)
	}
	if _, err = r.client.DeleteNetwork(r.ctx(), "red/web"); !errors.As(err, &p) || p.Status != 422 {
		t.Errorf("a network with ports was deleted: %v", err)
	}
	if _, err = r.client.Plan(r.ctx(), api.TopologyBody{Text: strings.Repeat("#", maxBody+1)}); !errors.As(err, &p) || p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("an oversized body: %v", err)
	}
}

func TestPlanSaysWhatApplyDoes(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	plan := func(text string) *api.Plan {
		t.Helper()
		p, err := r.client.Plan(r.ctx(), api.TopologyBody{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan(twoHosts); !p.Empty() || p.Interrupted || len(p.Hosts) != 0 {
		t.Errorf("plan of what is there: %+v", p)
	}
	if p := plan(strings.Replace(twoHosts, "netns: red-a", "netns: red-x", 1)); len(p.Changes) != 1 || p.Interrupted || len(p.Hosts) != 0 ||
		p.Changes[0].Fields[0] != "netns: red-a → red-x" {
		t.Errorf("plan of a change that touches no packet: %+v", p)
	}
	if p := plan(strings.Replace(twoHosts, "netns: red-a", "guest: vm1", 1)); len(p.Changes) != 1 || p.Interrupted || len(p.Hosts) != 0 ||
		strings.Join(p.Changes[0].Fields, "; ") != "netns: red-a → none; guest: none → vm1" {
		t.Errorf("plan of a port that becomes a network card: %+v", p)
	}
	if p := plan(migratable); len(p.Changes) != 1 || p.Interrupted || len(p.Hosts) != 0 || strings.Join(p.Changes[0].Fields, "; ") != "migrate_to: none → host2" {
		t.Errorf("plan of a port that may migrate: %+v", p)
	}
	changed := strings.Replace(twoHosts, "key: 1000001", "key: 1000009", 1)
	dry, revision := plan(changed), r.c.engine.load().Revision()
	if !dry.Interrupted || len(dry.Hosts) != 2 || len(dry.Hosts[0].Interrupts) != 1 || !strings.Contains(dry.Hosts[0].Interrupts[0], "1000001") {
		t.Errorf("plan of another key: %+v", dry)
	}
	if r.c.engine.load().Revision() != revision {
		t.Error("a plan changed something")
	}
	done := r.apply(changed)
	dry.Revision = done.Revision
	a, _ := json.Marshal(dry)
	b, _ := json.Marshal(done)
	if !bytes.Equal(a, b) {
		t.Errorf("planned %s\nexecuted %s", a, b)
	}
}

func TestSingleObjects(t *testing.T) {
	r := start(t, testConfig(t.TempDir()))
	must := func(rev *api.Revision, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !rev.Changed {
			t.Errorf("nothing changed: %+v", rev)
		}
	}
	must(r.client.PutTenant(r.ctx(), "red"))
	must(r.client.PutNetwork(r.ctx(), api.NetworkSpec{Tenant: "red", Name: "web", Encap: "gre"}))
	must(r.client.PutPort(r.ctx(), api.PortSpec{Name: "a", Network: "red/web"}))
	again, err := r.client.PutPort(r.ctx(), api.PortSpec{Name: "a", Network: "red/web"})
	if err != nil || again.Changed {
		t.Errorf("the same port again: %+v %v", again, err)
	}
	must(r.client.PutNetwork(r.ctx(), api.NetworkSpec{Tenant: "red", Name: "web", Encap: "gre", Answer: "declared"}))
	if n, err := r.client.Network(r.ctx(), "red/web"); err != nil || n.Answer != "declared" {
		t.Errorf("the network answers for %+v, %v", n, err)
	}
	topology, err := r.client.Topology(r.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(topology.Text, "answer: declared") {
		t.Errorf("topology:\n%s", topology.Text)
	}
	must(r.client.DeletePort(r.ctx(), "a"))
	must(r.client.DeleteNetwork(r.ctx(), "red/web"))
	must(r.client.DeleteTenant(r.ctx(), "red"))
	if !strings.Contains(topology.Text, "network: red/web") {
		t.Errorf("topology:\n%s", topology.Text)
	}
}

func TestMetricNames(t *testing.T) {
	r, _, _ := twoHostRig(t, testConfig(t.TempDir()))
	_, text := r.get("/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, namespace+"_") && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			t.Errorf("a metric without our prefix: %s", line)
		}
	}
}

// Peers that talk nonsense harm nobody.
func TestHostilePeers(t *testing.T) {
	r, s1, _ := twoHostRig(t, testConfig(t.TempDir()))
	before := s1.Counts().Messages
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\n\r\n", "\x04\x00\x00\x00\x00\x00\x00\x00", "\x04\x00\xff\xff\x00\x00\x00\x01", "\x01\x00\x00\x08\x00\x00\x00\x01",
		"\x04", "{", `{"method":1}`, "[[[[[[[[", `{"id":null,"method":"update","params":[]}`, strings.Repeat("\xff", 4096), "",
	} {
		for _, addr := range []net.Addr{r.c.OpenFlowAddr(), r.c.OVSDBAddr()} {
			nc, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(nc, garbage); err != nil {
				t.Fatal(err)
			}
			_ = nc.(*net.TCPConn).CloseWrite()
			_ = nc.SetReadDeadline(time.Now().Add(deadline))
			// It ends: the controller closes what it cannot understand.
			if _, err := io.Copy(io.Discard, nc); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q on %s: %v", garbage, addr, err)
			}
			_ = nc.Close()
		}
	}
	r.apply(strings.Replace(twoHosts, "key: 1000001", "key: 1000009", 1))
	r.allUp()
	if s1.Counts().Messages == before {
		t.Error("the switch was not served afterwards")
	}
}
