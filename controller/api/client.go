package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed"
)

// DefaultSocket is where a controller serves its interface unless configured otherwise.
const DefaultSocket = "/run/ofctl-lab/ofctl-lab.sock"

const (
	// requestTimeout bounds a request whose context has no deadline.
	requestTimeout = 60 * time.Second
	// maxAnswer bounds what an answer may make a client allocate: a dump of a
	// million flows fits.
	maxAnswer = 1 << 30
)

// ErrClosed is that of a request to which the controller closed the connection before it had
// answered, as one does that is stopped or ends; the cause is wrapped. Whether the request was
// carried out is not known.
var ErrClosed = errors.New("the controller closed the connection before it had answered")

// Client speaks to a controller. It is safe for concurrent use. Every method
// returns a *Problem for an answer of the controller that is not a success; any
// other error says why the controller could not be reached and what to do. It is ErrClosed
// if the controller was reached and went away.
type Client struct {
	http   *http.Client
	base   string // scheme and authority
	target string // as given, for errors
}

// NewClient is a client of the controller at target: "unix:PATH" or an absolute
// path for a unix socket, "http://HOST:PORT" for TCP, "" for DefaultSocket. It
// does not connect yet.
func NewClient(target string) (*Client, error) {
	if target == "" {
		target = DefaultSocket
	}
	tr := &http.Transport{MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second}
	d := net.Dialer{Timeout: 5 * time.Second}
	path, isUnix := strings.CutPrefix(target, "unix:")
	switch {
	case isUnix || strings.HasPrefix(target, "/"):
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("controller address %q: a unix socket needs an absolute path, for example unix:%s", target, DefaultSocket)
		}
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }
		return &Client{http: &http.Client{Transport: tr}, base: "http://ofctl-lab", target: target}, nil
	default:
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("controller address %q is neither unix:PATH nor http://HOST:PORT, for example unix:%s", target, DefaultSocket)
		}
		tr.DialContext = d.DialContext
		return &Client{http: &http.Client{Transport: tr}, base: u.Scheme + "://" + u.Host, target: target}, nil
	}
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the controller at a glance.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[*Status](ctx, c, "/v1/status")
}

// Version says which build of the controller answers.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	return get[*Version](ctx, c, "/v1/version")
}

// Hosts are all hosts, declared or joined, by name.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) { return get[[]Host](ctx, c, "/v1/hosts") }

// Host is one host.
func (c *Client) Host(ctx context.Context, name string) (*Host, error) {
	return get[*Host](ctx, c, "/v1/hosts/"+url.PathEscape(name))
}

// Tenants are all tenants, by name.
func (c *Client) Tenants(ctx context.Context) ([]Tenant, error) {
	return get[[]Tenant](ctx, c, "/v1/tenants")
}

// Tenant is one tenant.
func (c *Client) Tenant(ctx context.Context, name string) (*Tenant, error) {
	return get[*Tenant](ctx, c, "/v1/tenants/"+url.PathEscape(name))
}

// Networks are all networks, by full name.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	return get[[]Network](ctx, c, "/v1/networks")
}

// Network is one network by its full name, "tenant/network".
func (c *Client) Network(ctx context.Context, fullName string) (*Network, error) {
	path, err := networkPath(fullName)
	if err != nil {
		return nil, err
	}
	return get[*Network](ctx, c, path)
}

// Ports are all declared ports, by name.
func (c *Client) Ports(ctx context.Context) ([]Port, error) { return get[[]Port](ctx, c, "/v1/ports") }

// Port is one port.
func (c *Client) Port(ctx context.Context, name string) (*Port, error) {
	return get[*Port](ctx, c, "/v1/ports/"+url.PathEscape(name))
}

// Unclaimed is what is there but nobody declared.
func (c *Client) Unclaimed(ctx context.Context) (*Unclaimed, error) {
	return get[*Unclaimed](ctx, c, "/v1/unclaimed")
}

// PutHost declares a host or changes its declaration.
func (c *Client) PutHost(ctx context.Context, h HostSpec) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodPut, "/v1/hosts/"+url.PathEscape(h.Name), h)
}

// PutTenant declares a tenant.
func (c *Client) PutTenant(ctx context.Context, name string) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodPut, "/v1/tenants/"+url.PathEscape(name), struct{}{})
}

// PutNetwork declares a network or changes its declaration.
func (c *Client) PutNetwork(ctx context.Context, n NetworkSpec) (*Revision, error) {
	path, err := networkPath(n.FullName())
	if err != nil {
		return nil, err
	}
	return send[*Revision](ctx, c, http.MethodPut, path, n)
}

// PutPort declares a port or changes its declaration.
func (c *Client) PutPort(ctx context.Context, p PortSpec) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodPut, "/v1/ports/"+url.PathEscape(p.Name), p)
}

// DeleteHost removes a host's declaration, and forgets a host that is not connected.
func (c *Client) DeleteHost(ctx context.Context, name string) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodDelete, "/v1/hosts/"+url.PathEscape(name), nil)
}

// DeleteTenant removes a tenant; it must have no networks.
func (c *Client) DeleteTenant(ctx context.Context, name string) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodDelete, "/v1/tenants/"+url.PathEscape(name), nil)
}

// DeleteNetwork removes a network; it must have no ports.
func (c *Client) DeleteNetwork(ctx context.Context, fullName string) (*Revision, error) {
	path, err := networkPath(fullName)
	if err != nil {
		return nil, err
	}
	return send[*Revision](ctx, c, http.MethodDelete, path, nil)
}

// DeletePort removes a port.
func (c *Client) DeletePort(ctx context.Context, name string) (*Revision, error) {
	return send[*Revision](ctx, c, http.MethodDelete, "/v1/ports/"+url.PathEscape(name), nil)
}

// Topology is the whole desired state as a topology file.
func (c *Client) Topology(ctx context.Context) (*Topology, error) {
	return get[*Topology](ctx, c, "/v1/topology")
}

// Apply makes the topology in b the whole desired state: what is not in it is
// removed. The answer is the plan as executed; the switches follow (see Wait).
func (c *Client) Apply(ctx context.Context, b TopologyBody) (*Plan, error) {
	return send[*Plan](ctx, c, http.MethodPut, "/v1/topology", b)
}

// Plan says what Apply would do, without doing it.
func (c *Client) Plan(ctx context.Context, b TopologyBody) (*Plan, error) {
	return send[*Plan](ctx, c, http.MethodPost, "/v1/plan", b)
}

// Flows reads the flows and groups of a host's integration bridge from the switch.
func (c *Client) Flows(ctx context.Context, host string) (*FlowDump, error) {
	return get[*FlowDump](ctx, c, "/v1/hosts/"+url.PathEscape(host)+"/flows")
}

// PlannedFlows is what a host's switch is to hold, compiled from the newest revision.
func (c *Client) PlannedFlows(ctx context.Context, host string) (*FlowDump, error) {
	return get[*FlowDump](ctx, c, "/v1/hosts/"+url.PathEscape(host)+"/flows?planned=true")
}

// Send sends a frame through the switch as if the guest of a bound port had sent it.
func (c *Client) Send(ctx context.Context, port string, frame []byte) (*Sent, error) {
	return send[*Sent](ctx, c, http.MethodPost, "/v1/ports/"+url.PathEscape(port)+"/send", SendBody{Frame: frame})
}

// Wait returns when every connected host has confirmed the revision (0 means the
// newest), or after timeout (at most 10 minutes) with Done false and the hosts
// that have not.
func (c *Client) Wait(ctx context.Context, revision uint64, timeout time.Duration) (*Wait, error) {
	q := url.Values{"timeout": {timeout.String()}}
	if revision > 0 {
		q.Set("revision", strconv.FormatUint(revision, 10))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+requestTimeout)
	defer cancel()
	return get[*Wait](ctx, c, "/v1/wait?"+q.Encode())
}

func networkPath(fullName string) (string, error) {
	t, n, ok := strings.Cut(fullName, "/")
	if !ok || t == "" || n == "" || strings.Contains(n, "/") {
		return "", fmt.Errorf("network %q: write TENANT/NETWORK, for example red/web", fullName)
	}
	return "/v1/networks/" + url.PathEscape(t) + "/" + url.PathEscape(n), nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, nil)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("encoding the request %s %s: %w", method, path, err)
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, rd)
	if err != nil {
		return out, fmt.Errorf("request %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, c.unreachable(method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if closed.Is(err) {
		return out, c.unreachable(method, path, err)
	}
	if err != nil {
		return out, fmt.Errorf("reading the controller's answer to %s %s: %w", method, path, err)
	}
	if len(b) > maxAnswer {
		return out, fmt.Errorf("the controller's answer to %s %s is over %d bytes", method, path, maxAnswer)
	}
	if resp.StatusCode/100 != 2 {
		p := &Problem{}
		if json.Unmarshal(b, p) != nil || p.Title == "" && p.Detail == "" {
			p = NewProblem(resp.StatusCode, fmt.Sprintf("%s %s answered %s, which is not the answer of an ofctl-lab controller: check the address %s", method, path, resp.Status, c.target))
		}
		p.Status = resp.StatusCode
		return out, p
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("the controller's answer to %s %s is not what was expected (is it of another version?): %w", method, path, err)
	}
	return out, nil
}

// closedIdle is what net/http says, in an error without a type, of a connection that was
// idle and is closed when the next request is about to go out on it.
const closedIdle = "http: server closed idle connection"

// unreachable says why there is no answer and what to do.
func (c *Client) unreachable(method, path string, err error) error {
	hint := "is `ofctl-lab controller` running, and with this address?"
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "run as root or as a member of the socket's group"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		hint = "start it with `ofctl-lab controller`, or give its address"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("waiting for the controller at %s: %w", c.target, err)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	if closed.Is(err) || strings.HasSuffix(err.Error(), closedIdle) {
		return fmt.Errorf("%s %s at %s: %w: %w; whether it was carried out is not known: look with `ofctl-lab get`, or try again", method, path, c.target, ErrClosed, err)
	}
	return fmt.Errorf("no controller answers at %s: %w; %s", c.target, err, hint)
}
