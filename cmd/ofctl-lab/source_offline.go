package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/controller/explain"
	"github.com/ofctl-lab/ofctl-lab/flows"
	"github.com/ofctl-lab/ofctl-lab/flows/trace"
)

// maxBadLines is how many lines of a dump are said to be wrong at most.
const maxBadLines = 10

// offlineSource is what was dumped to files.
type offlineSource struct {
	tables map[string]*explain.Tables
	errs   map[string][]error
}

func (s *offlineSource) name() string { return "dumps" }

func (s *offlineSource) Close() {}

func (s *offlineSource) read(_ context.Context, host string) (*explain.Tables, error) {
	t := s.tables[host]
	if t == nil {
		return nil, fmt.Errorf("host %s has no dump; give one with --dump %s=FILE", host, host)
	}
	return t, errors.Join(s.errs[host]...)
}

func (a *app) offline(o sourceOptions) (*explain.Overlay, flowSource, error) {
	tp, err := a.readTopology(o.topology)
	if err != nil {
		return nil, nil, err
	}
	version, err := trace.ParseVersion(o.version)
	if err != nil {
		return nil, nil, usagef("--open-vswitch: %v", err)
	}
	overlay := explain.FromSnapshot(tp.snapshot)
	var names []string
	for i := range overlay.Hosts {
		overlay.Hosts[i].OpenVSwitch = version
		names = append(names, overlay.Hosts[i].Name)
	}
	s := &offlineSource{tables: map[string]*explain.Tables{}, errs: map[string][]error{}}
	for _, d := range o.dumps {
		host, name, err := hostFile(d)
		if err != nil {
			return nil, nil, err
		}
		if tp.snapshot.Host(host) == nil {
			return nil, nil, usagef("--dump %s: the topology %s has no host %s; %s", d, o.topology, host, meant(host, names))
		}
		data, shown, err := a.readFile(name)
		if err != nil {
			return nil, nil, fmt.Errorf("dump of host %s: %w", host, err)
		}
		if s.tables[host] == nil {
			s.tables[host] = &explain.Tables{}
		}
		s.parse(host, shown, string(data))
	}
	for _, t := range s.tables {
		t.WithoutGroups("which is not in the dump; add what dump-flows --raw --groups prints")
	}
	overlay.Recognise(s.tables)
	for _, p := range o.ports {
		if err := place(overlay, p); err != nil {
			return nil, nil, err
		}
	}
	return overlay, s, nil
}

// parse adds the flows and groups of a dump, one a line, to those of a host. A line that
// cannot be read is a flow of which nobody knows what it does.
func (s *offlineSource) parse(host, file, text string) {
	t, n, bad := s.tables[host], 0, 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		var err error
		switch {
		case strings.HasPrefix(line, "# not readable: "):
			table, priority, why, ok := unreadable(line)
			if !ok {
				err = errors.New("it stands for a flow that could not be read, and does not say in which table")
				break
			}
			t.Unread = append(t.Unread, trace.Unread{Table: table, Priority: priority, Why: why})
		case line == "" || strings.HasPrefix(line, "#"), strings.HasPrefix(line, "OFPST_"), strings.HasPrefix(line, "NXST_"):
			// A comment, or a heading of ovs-ofctl.
		case strings.HasPrefix(line, "group_id="):
			var g *flows.Group
			if g, err = flows.ParseGroup(line); err == nil {
				err = t.AddGroup(g)
			}
		default:
			var f *flows.Flow
			if f, err = flows.ParseFlow(line); err == nil {
				t.Flows = append(t.Flows, f)
				continue
			}
			t.Unread = append(t.Unread, unread(line, fmt.Sprintf("%s:%d: %v", file, n, err)))
		}
		if err != nil {
			if bad++; bad == maxBadLines {
				err = errors.Join(err, errors.New("and perhaps more"))
			}
			if bad <= maxBadLines {
				s.errs[host] = append(s.errs[host], fmt.Errorf("dump of host %s: %s:%d: %w", host, file, n, err))
			}
		}
	}
}

var (
	tableInText    = regexp.MustCompile(`\btable=(\d+)`)
	priorityInText = regexp.MustCompile(`\bpriority=(\d+)`)
)

// unread is a flow whose text cannot be read, but for where it stands. What ovs-ofctl
// leaves out is table 0 and priority 32768.
func unread(line, why string) trace.Unread {
	u := trace.Unread{Priority: 1 << 15, Why: why}
	line, _, _ = strings.Cut(line, "actions=") // which may name tables and priorities of others
	if m := tableInText.FindStringSubmatch(line); m != nil {
		if n, err := strconv.ParseUint(m[1], 10, 8); err == nil {
			u.Table = uint8(n)
		}
	}
	if m := priorityInText.FindStringSubmatch(line); m != nil {
		if n, err := strconv.ParseUint(m[1], 10, 16); err == nil {
			u.Priority = uint16(n)
		}
	}
	return u
}
