package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

const (
	// maxBody bounds a request: a topology of 100,000 ports fits.
	maxBody = 32 << 20
	// requestTimeout bounds what a request may take unless it waits on purpose.
	requestTimeout = 60 * time.Second
	// maxWait bounds a wait.
	maxWait = 10 * time.Minute
)

// rest is the HTTP interface.
type rest struct{ c *Controller }

func (c *Controller) newHTTPServer() *http.Server {
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("ofctl-lab controller", c.deps.Version)
	cfg.DocsPath = ""     // the viewer would load scripts from elsewhere
	cfg.CreateHooks = nil // no $schema in answers: their fields are the documented ones
	cfg.Info.Description = "Tenant networks over tunnel keys on Open vSwitch: what is desired, what is observed, and what the switches hold."
	rest{c}.register(humago.New(mux, cfg))
	mux.Handle("GET /metrics", c.metrics.handler())
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      maxWait + requestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// A request ends with the controller, so that stopping is quick.
		BaseContext: func(net.Listener) context.Context { return c.ctx },
	}
}

// body is an answer.
type body[T any] struct{ Body T }

// named is a request for one object.
type named struct {
	Name string `path:"name" maxLength:"63" doc:"Name of the object"`
}

// networkNamed is a request for one network.
type networkNamed struct {
	Tenant string `path:"tenant" maxLength:"63" doc:"Name of the tenant"`
	Name   string `path:"name" maxLength:"63" doc:"Name of the network"`
}

func (n networkNamed) fullName() string { return n.Tenant + "/" + n.Name }

func operation(method, path, id, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		MaxBodyBytes: maxBody, BodyReadTimeout: 30 * time.Second,
	}
}

func (r rest) register(a huma.API) {
	r.registerReads(a)
	r.registerWrites(a)
	huma.Register(a, operation("GET", "/v1/topology", "get-topology", "The whole desired state as a topology file"), r.topology)
	huma.Register(a, operation("PUT", "/v1/topology", "apply-topology", "Make a topology the whole desired state"), r.apply)
	huma.Register(a, operation("POST", "/v1/plan", "plan-topology", "What applying a topology would change"), r.plan)
	huma.Register(a, operation("GET", "/v1/wait", "wait", "Wait until every connected host has confirmed a revision"), r.wait)
}

func (r rest) registerReads(a huma.API) {
	huma.Register(a, operation("GET", "/v1/version", "get-version", "Which build answers"), r.version)
	huma.Register(a, operation("GET", "/v1/status", "get-status", "The controller at a glance"), r.status)
	huma.Register(a, operation("GET", "/v1/unclaimed", "get-unclaimed", "What is there but nobody declared"), r.unclaimed)
	huma.Register(a, operation("GET", "/v1/hosts", "list-hosts", "All hosts"), r.hosts)
	huma.Register(a, operation("GET", "/v1/hosts/{name}", "get-host", "One host"), r.host)
	huma.Register(a, operation("GET", "/v1/hosts/{name}/flows", "get-flows", "Flows, groups and ports, read from the host's switch, or as they are to be"), r.flows)
	huma.Register(a, operation("POST", "/v1/ports/{name}/send", "send-frame", "Send a frame as if the guest of a port had sent it"), r.send)
	huma.Register(a, operation("GET", "/v1/tenants", "list-tenants", "All tenants"), r.tenants)
	huma.Register(a, operation("GET", "/v1/tenants/{name}", "get-tenant", "One tenant"), r.tenant)
	huma.Register(a, operation("GET", "/v1/networks", "list-networks", "All networks"), r.networks)
	huma.Register(a, operation("GET", "/v1/networks/{tenant}/{name}", "get-network", "One network"), r.network)
	huma.Register(a, operation("GET", "/v1/ports", "list-ports", "All declared ports"), r.ports)
	huma.Register(a, operation("GET", "/v1/ports/{name}", "get-port", "One port"), r.port)
}

// problem turns an error into the answer that says what, where and what to do.
func problem(err error) error {
	var p *api.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, topo.ErrNotFound):
		return api.NewProblem(http.StatusNotFound, err.Error())
	case errors.Is(err, errStore), errors.Is(err, errStopping), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.NewProblem(http.StatusServiceUnavailable, err.Error())
	}
	if details := fileDetails(err); len(details) > 0 {
		return api.NewProblem(http.StatusUnprocessableEntity, "the topology is not valid", details...)
	}
	if ps := topo.Problems(err); len(ps) > 0 {
		out := api.NewProblem(http.StatusUnprocessableEntity, "the change is not valid")
		for _, tp := range ps {
			where := tp.Object
			if tp.Field != "" {
				where += ": " + tp.Field
			}
			out.Errors = append(out.Errors, api.ProblemDetail{Message: tp.What, Location: where, Hint: tp.Hint})
		}
		return out
	}
	return api.NewProblem(http.StatusInternalServerError, err.Error())
}

// fileDetails are the located mistakes in err.
func fileDetails(err error) []api.ProblemDetail {
	var out []api.ProblemDetail
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case nil:
		case *file.Error:
			out = append(out, api.ProblemDetail{Message: e.What, Location: location(e), Hint: e.Hint})
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		default:
			walk(errors.Unwrap(err))
		}
	}
	walk(err)
	return out
}

func location(e *file.Error) string { return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column) }

func notFound(kind, name, hint string) error {
	return api.NewProblem(http.StatusNotFound, "there is no "+kind+" "+name, api.ProblemDetail{Message: "not found", Location: kind + " " + name, Hint: hint})
}

func (r rest) version(context.Context, *struct{}) (*body[api.Version], error) {
	d := r.c.deps
	return &body[api.Version]{api.Version{Version: d.Version, Commit: d.Commit, Go: runtime.Version(), API: "v1"}}, nil
}

func (r rest) status(context.Context, *struct{}) (*body[api.Status], error) {
	return &body[api.Status]{r.c.view().status()}, nil
}

func (r rest) unclaimed(context.Context, *struct{}) (*body[api.Unclaimed], error) {
	v := r.c.view()
	out := api.Unclaimed{Interfaces: []api.Claim{}, Bridges: r.c.unclaimed.all()}
	for _, c := range v.model.Unclaimed() {
		out.Interfaces = append(out.Interfaces, v.claim(c.IfaceID, c.Binding))
	}
	return &body[api.Unclaimed]{out}, nil
}

// all converts a list, never to null.
func all[T, U any](in []T, convert func(T) U) *body[[]U] {
	out := make([]U, 0, len(in))
	for _, v := range in {
		out = append(out, convert(v))
	}
	return &body[[]U]{out}
}

func (r rest) hosts(context.Context, *struct{}) (*body[[]api.Host], error) {
	v := r.c.view()
	return all(v.model.Hosts(), v.apiHost), nil
}

func (r rest) host(_ context.Context, in *named) (*body[api.Host], error) {
	v := r.c.view()
	h := v.model.Host(in.Name)
	if h == nil {
		return nil, notFound("host", in.Name, "see ofctl-lab get hosts; a host joins with what ofctl-lab host join-command prints")
	}
	return &body[api.Host]{v.apiHost(h)}, nil
}

func (r rest) tenants(context.Context, *struct{}) (*body[[]api.Tenant], error) {
	v := r.c.view()
	return all(v.model.Tenants(), v.apiTenant), nil
}

func (r rest) tenant(_ context.Context, in *named) (*body[api.Tenant], error) {
	v := r.c.view()
	t := v.model.Tenant(in.Name)
	if t == nil {
		return nil, notFound("tenant", in.Name, "see ofctl-lab get tenants")
	}
	return &body[api.Tenant]{v.apiTenant(t)}, nil
}

func (r rest) networks(context.Context, *struct{}) (*body[[]api.Network], error) {
	v := r.c.view()
	return all(v.model.Networks(), v.apiNetwork), nil
}

func (r rest) network(_ context.Context, in *networkNamed) (*body[api.Network], error) {
	v := r.c.view()
	n := v.model.Network(in.fullName())
	if n == nil {
		return nil, notFound("network", in.fullName(), "see ofctl-lab get networks")
	}
	return &body[api.Network]{v.apiNetwork(n)}, nil
}

func (r rest) ports(context.Context, *struct{}) (*body[[]api.Port], error) {
	v := r.c.view()
	return all(v.model.Ports(), v.apiPort), nil
}

func (r rest) port(_ context.Context, in *named) (*body[api.Port], error) {
	v := r.c.view()
	p := v.model.Port(in.Name)
	if p == nil {
		return nil, notFound("port", in.Name, "see ofctl-lab get ports")
	}
	out := v.apiPort(p)
	if out.Status.Learning != nil {
		out.Status.Learning.MACs = v.learnedMACs(p)
	}
	return &body[api.Port]{out}, nil
}
