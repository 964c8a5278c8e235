package controller

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

func (r rest) registerWrites(a huma.API) {
	huma.Register(a, operation("PUT", "/v1/hosts/{name}", "put-host", "Declare a host"), r.putHost)
	huma.Register(a, operation("PUT", "/v1/tenants/{name}", "put-tenant", "Declare a tenant"), r.putTenant)
	huma.Register(a, operation("PUT", "/v1/networks/{tenant}/{name}", "put-network", "Declare a network"), r.putNetwork)
	huma.Register(a, operation("PUT", "/v1/ports/{name}", "put-port", "Declare a port"), r.putPort)
	huma.Register(a, operation("DELETE", "/v1/hosts/{name}", "delete-host", "Withdraw a host's declaration; forget the host if it is away"), r.deleteHost)
	huma.Register(a, operation("DELETE", "/v1/tenants/{name}", "delete-tenant", "Delete a tenant without networks"), r.deleteTenant)
	huma.Register(a, operation("DELETE", "/v1/networks/{tenant}/{name}", "delete-network", "Delete a network without ports"), r.deleteNetwork)
	huma.Register(a, operation("DELETE", "/v1/ports/{name}", "delete-port", "Delete a port"), r.deletePort)
}

// change commits one change of what is desired.
func (r rest) change(ctx context.Context, req request) (*body[api.Revision], error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req.desired = true
	o := r.c.engine.do(ctx, req)
	if o.err != nil {
		return nil, problem(o.err)
	}
	return &body[api.Revision]{api.Revision{Revision: o.next.Revision(), Changed: o.next.Revision() != o.old.Revision()}}, nil
}

// put is change for what cannot fail before the commit.
func (r rest) put(ctx context.Context, f func(*topo.Txn)) (*body[api.Revision], error) {
	return r.change(ctx, request{change: func(t *topo.Txn) error { f(t); return nil }})
}

// sameName refuses a body that names another object than the path.
func sameName(kind, path, body string) error {
	if path == body {
		return nil
	}
	return api.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("the path says %s %s and the body %q", kind, path, body),
		api.ProblemDetail{Message: "the names differ", Location: kind + " " + path, Hint: "to rename it, delete it and declare it anew"})
}

// The requests below repeat the fields of named: huma does not look into
// embedded types that are not exported.

type hostPut struct {
	Name string `path:"name" maxLength:"63" doc:"Name of the host"`
	Body api.HostSpec
}

func (r rest) putHost(ctx context.Context, in *hostPut) (*body[api.Revision], error) {
	if err := sameName("host", in.Name, in.Body.Name); err != nil {
		return nil, err
	}
	return r.put(ctx, func(t *topo.Txn) { t.PutHost(topo.Host{Name: in.Body.Name, TEP: in.Body.TEP}) })
}

type tenantPut struct {
	Name string `path:"name" maxLength:"63" doc:"Name of the tenant"`
	Body struct{}
}

func (r rest) putTenant(ctx context.Context, in *tenantPut) (*body[api.Revision], error) {
	return r.put(ctx, func(t *topo.Txn) { t.PutTenant(topo.Tenant{Name: in.Name}) })
}

type networkPut struct {
	Tenant string `path:"tenant" maxLength:"63" doc:"Name of the tenant"`
	Name   string `path:"name" maxLength:"63" doc:"Name of the network"`
	Body   api.NetworkSpec
}

func (r rest) putNetwork(ctx context.Context, in *networkPut) (*body[api.Revision], error) {
	if err := sameName("network", in.Tenant+"/"+in.Name, in.Body.FullName()); err != nil {
		return nil, err
	}
	n, err := topoNetwork(in.Body)
	if err != nil {
		return nil, problem(err)
	}
	return r.put(ctx, func(t *topo.Txn) { t.PutNetwork(n) })
}

type portPut struct {
	Name string `path:"name" maxLength:"63" doc:"Name of the port"`
	Body api.PortSpec
}

func (r rest) putPort(ctx context.Context, in *portPut) (*body[api.Revision], error) {
	if err := sameName("port", in.Name, in.Body.Name); err != nil {
		return nil, err
	}
	p, err := topoPort(in.Body)
	if err != nil {
		return nil, problem(err)
	}
	return r.put(ctx, func(t *topo.Txn) { t.PutPort(p) })
}

func (r rest) deleteTenant(ctx context.Context, in *named) (*body[api.Revision], error) {
	return r.change(ctx, request{change: func(t *topo.Txn) error { return t.DeleteTenant(in.Name) }})
}

func (r rest) deleteNetwork(ctx context.Context, in *networkNamed) (*body[api.Revision], error) {
	return r.change(ctx, request{change: func(t *topo.Txn) error { return t.DeleteNetwork(in.fullName()) }})
}

func (r rest) deletePort(ctx context.Context, in *named) (*body[api.Revision], error) {
	return r.change(ctx, request{change: func(t *topo.Txn) error { return t.DeletePort(in.Name) }})
}

// deleteHost withdraws the declaration and, if the host is away, forgets what it
// showed: it then counts no more as one that may hold flows.
func (r rest) deleteHost(ctx context.Context, in *named) (*body[api.Revision], error) {
	th := r.c.engine.load().Host(in.Name)
	if th == nil {
		return nil, notFound("host", in.Name, "see ofctl-lab get hosts")
	}
	req := request{}
	h := r.c.hosts.find(in.Name)
	away := h != nil && !h.db.Load().connected && !h.of.Load().connected
	if away {
		req.programmed = map[string]bool{in.Name: false}
	}
	if !th.Declared && !away {
		return nil, api.NewProblem(http.StatusConflict, "host "+in.Name+" is connected and not declared, so there is nothing to withdraw",
			api.ProblemDetail{Message: "it would come back at once", Location: "host " + in.Name, Hint: "run there what ofctl-lab host leave-command prints, then delete it"})
	}
	req.change = func(t *topo.Txn) error {
		if away {
			t.ForgetHost(in.Name)
		}
		if th.Declared {
			return t.DeleteHost(in.Name)
		}
		return nil
	}
	out, err := r.change(ctx, req)
	if err == nil && away {
		h.forget()
	}
	return out, err
}

func (r rest) topology(context.Context, *struct{}) (*body[api.Topology], error) {
	m := r.c.engine.load()
	return &body[api.Topology]{api.Topology{Revision: m.Revision(), Text: m.topologyText()}}, nil
}

type topologyPut struct{ Body api.TopologyBody }

// parse reads the topology of a request.
func (in *topologyPut) parse() (*file.File, error) {
	name := in.Body.Name
	if name == "" {
		name = "topology.yaml"
	}
	f, err := file.Parse(name, []byte(in.Body.Text))
	if err != nil {
		return nil, problem(err)
	}
	return f, nil
}

func (r rest) plan(_ context.Context, in *topologyPut) (*body[*api.Plan], error) {
	f, err := in.parse()
	if err != nil {
		return nil, err
	}
	v := r.c.view()
	next, changes, err := file.Check(f, v.model.Snapshot)
	if err != nil {
		return nil, problem(err)
	}
	p, err := v.plan(v.model.Snapshot, next, changes)
	if err != nil {
		return nil, problem(err)
	}
	p.Revision = v.model.Revision()
	return &body[*api.Plan]{p}, nil
}

func (r rest) apply(ctx context.Context, in *topologyPut) (*body[*api.Plan], error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f, err := in.parse()
	if err != nil {
		return nil, err
	}
	// What depends on the underlay is checked against what is there now; what is
	// checked by the commit is checked again with it.
	if _, _, err := file.Check(f, r.c.engine.load().Snapshot); err != nil {
		return nil, problem(err)
	}
	meta := metaOf(f)
	o := r.c.engine.do(ctx, request{desired: true, meta: &meta, change: func(t *topo.Txn) error { t.Replace(f.Topology); return nil }})
	if o.err != nil {
		return nil, problem(f.Locate(o.err))
	}
	p, err := r.c.view().plan(o.old.Snapshot, o.next.Snapshot, o.changes)
	if err != nil {
		return nil, problem(err)
	}
	return &body[*api.Plan]{p}, nil
}

type waitQuery struct {
	Revision uint64 `query:"revision" doc:"Revision to wait for; the newest when left out"`
	Timeout  string `query:"timeout" default:"30s" maxLength:"20" doc:"How long to wait, at most 10m"`
}

func (r rest) wait(ctx context.Context, in *waitQuery) (*body[api.Wait], error) {
	d, err := time.ParseDuration(in.Timeout)
	if err != nil || d < 0 || d > maxWait {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, fmt.Sprintf("timeout %q is not a duration in 0s…%s", in.Timeout, maxWait))
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		changed := r.c.changed.wait()
		v := r.c.view()
		w := v.wait(in.Revision)
		if !w.Done {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			}
		}
		// Only now: there may be many changes to wait through, and many ports to count.
		w.PortsUp = v.portsUp()
		return &body[api.Wait]{w}, nil
	}
}

// wait says who has not confirmed the revision; 0 is the newest. It does not count the ports
// that are up.
func (v *view) wait(revision uint64) api.Wait {
	if revision == 0 {
		revision = v.model.Revision()
	}
	w := api.Wait{Revision: revision, Pending: []api.WaitPending{}, Ports: len(v.model.Ports())}
	if v.model.Revision() < revision {
		w.Pending = append(w.Pending, api.WaitPending{Host: "controller", Revision: v.model.Revision(), Reason: "there is no such revision yet"})
	}
	for _, th := range v.model.Hosts() {
		h := v.host(th.Name)
		if !h.of.connected || h.sync.revision() >= revision {
			continue
		}
		reason := "being programmed"
		switch {
		case h.sync.err != "":
			reason = h.sync.err
		case h.sync.waiting != "":
			reason = h.sync.waiting
		}
		w.Pending = append(w.Pending, api.WaitPending{Host: th.Name, Revision: h.sync.revision(), Reason: reason})
	}
	w.Done = len(w.Pending) == 0
	return w
}
