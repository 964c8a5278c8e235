package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// flowSource is where flows are read.
type flowSource interface {
	// name is the Source of a report.
	name() string
	// read is what the switch of a host holds. With tables there may be an error all the
	// same, which says what of them could not be read.
	read(ctx context.Context, host string) (*explain.Tables, error)
	Close()
}

// sourceOptions are the flags that say where flows are read.
type sourceOptions struct {
	planned  bool
	dumps    []string
	topology string
	ports    []string
	version  string // of Open vSwitch
}

func (o *sourceOptions) addFlags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&o.planned, "planned", false, "by the flows that the switches are to hold")
	fl.StringArrayVar(&o.dumps, "dump", nil, "flows and groups of a host from a file, as HOST=FILE; may be repeated")
	fl.StringVarP(&o.topology, "file", "f", "", "with --dump: the topology file that has the names")
	fl.StringVar(&o.version, "open-vswitch", trace.V31.String(), "with --dump: the version of Open vSwitch that the hosts run")
	fl.StringArrayVar(&o.ports, "port", nil, "with --dump: where a port is that the flows do not show, as PORT=HOST:NUMBER; may be repeated")
}

func (o *sourceOptions) check() error {
	switch {
	case o.planned && len(o.dumps) > 0:
		return usagef("--planned and --dump exclude each other")
	case len(o.dumps) > 0 && o.topology == "":
		return usagef("--dump needs the topology file, which has the names: -f FILE")
	case len(o.dumps) == 0 && o.topology != "":
		return usagef("-f is for --dump; without it the names are the controller's")
	case len(o.dumps) == 0 && len(o.ports) > 0:
		return usagef("--port is for --dump; without it the controller knows where the ports are")
	case len(o.dumps) == 0 && o.version != trace.V31.String():
		return usagef("--open-vswitch is for --dump; without it the hosts say which version they run")
	}
	return nil
}

// flowSource is where the flows are read, and what is known of the overlay there.
func (a *app) flowSource(cmd *cobra.Command, o sourceOptions) (*explain.Overlay, flowSource, error) {
	if len(o.dumps) > 0 {
		return a.offline(o)
	}
	d, err := a.daemon(cmd)
	if err != nil {
		return nil, nil, err
	}
	s := newOnlineSource(d, o.planned)
	overlay, err := s.overlay(cmd.Context())
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return overlay, s, nil
}

// readHosts reads hosts at once. A host may have tables, an error, or both.
func readHosts(ctx context.Context, s flowSource, hosts []string) (read []*explain.Tables, errs []error) {
	read, errs = make([]*explain.Tables, len(hosts)), make([]error, len(hosts))
	var g errgroup.Group
	g.SetLimit(maxDumps)
	for i, h := range hosts {
		g.Go(func() error {
			read[i], errs[i] = s.read(ctx, h)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs, by host
	return read, errs
}

// hostFile is the two sides of HOST=FILE.
func hostFile(s string) (host, file string, err error) {
	host, file, ok := strings.Cut(s, "=")
	if !ok || host == "" || file == "" {
		return "", "", usagef("--dump %q is not HOST=FILE, for example host1=host1.flows", s)
	}
	return host, file, nil
}

// place says of an overlay that is known by names only where a port is: PORT=HOST:NUMBER.
func place(o *explain.Overlay, s string) error {
	port, at, _ := strings.Cut(s, "=")
	host, number, ok := strings.Cut(at, ":")
	n, err := strconv.ParseUint(number, 10, 32)
	if !ok || port == "" || host == "" || err != nil || n == 0 || n >= uint64(flows.PortMax) {
		return usagef("--port %q is not PORT=HOST:NUMBER, for example red-a=host1:3", s)
	}
	if err := o.Place(port, host, uint32(n)); err != nil {
		return usageError{fmt.Errorf("--port %s: %w", s, err)}
	}
	return nil
}
