package topo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The kinds of object, as in Change.Kind, Problem.Object and ObjectByID.
const (
	KindTenant  = "tenant"
	KindNetwork = "network"
	KindHost    = "host"
	KindPort    = "port"
)

// Problem is one thing that is wrong with one object. Txn.Commit returns all
// that it finds, joined; Problems takes them apart again.
type Problem struct {
	// Object is the kind and the name: "port red-a", "network red/web".
	Object string `json:"object"`
	// Field is the path of the attribute as in the topology file, lists by
	// index and VLANs by ID: "key", "subnets.1", "trunk.vlans.10.addresses.0".
	// Empty when the object as a whole is meant.
	Field string `json:"field,omitempty"`
	// What is wrong, and Hint what to do about it; neither ends in a full stop.
	What string `json:"what"`
	Hint string `json:"hint,omitempty"`
	// Other is the other object of a clash, in the form of Object.
	Other string `json:"other,omitempty"`
}

// Error is "OBJECT: FIELD: WHAT; HINT" on one line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Object)
	if p.Field != "" {
		b.WriteString(": ")
		b.WriteString(p.Field)
	}
	b.WriteString(": ")
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

// Problems are the Problems in err, which may be wrapped or joined to any depth.
func Problems(err error) []*Problem {
	var out []*Problem
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case nil:
		case *Problem:
			out = append(out, e)
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

// problems collects. Its methods are called in a deterministic order.
type problems struct {
	list []*Problem
	more int // how many were not kept
}

// maxProblems is the most Problems that are kept of one commit: nobody reads
// more, and hostile input can have very many.
const maxProblems = 4096

func (ps *problems) add(p *Problem) {
	if len(ps.list) == maxProblems {
		ps.more++
		return
	}
	ps.list = append(ps.list, p)
}

// err is nil, or everything collected, by kind and name of the object.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b *Problem) int {
		ak, an, _ := strings.Cut(a.Object, " ")
		bk, bn, _ := strings.Cut(b.Object, " ")
		return cmp.Or(cmp.Compare(kindOrder(ak), kindOrder(bk)), strings.Compare(an, bn))
	})
	errs := make([]error, len(ps.list))
	for i, p := range ps.list {
		errs[i] = p
	}
	if ps.more > 0 {
		errs = append(errs, fmt.Errorf("and %d more problems", ps.more))
	}
	return errors.Join(errs...)
}

func kindOrder(kind string) int {
	return slices.Index([]string{KindHost, KindTenant, KindNetwork, KindPort}, kind)
}

// ErrNotFound is what a delete of an unknown object wraps.
var ErrNotFound = errors.New("not found")

func notFound(kind, name, hint string) error {
	return fmt.Errorf("%s %s: %w; %s", kind, name, ErrNotFound, hint)
}

// MaxName is the longest name, in bytes.
const MaxName = 63

// CheckName says what is wrong with a name of a tenant, network, port or host,
// nil if nothing is: 1 … MaxName of the ASCII letters and digits and "-", "_" and
// ".", the first of them a letter or digit.
func CheckName(name string) error {
	const hint = "use 1 to 63 ASCII letters, digits, \"-\", \"_\" or \".\", starting with a letter or digit"
	if name == "" {
		return fmt.Errorf("the name is empty; %s", hint)
	}
	if len(name) > MaxName {
		return fmt.Errorf("the name is %d bytes long; %s", len(name), hint)
	}
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if alnum || i > 0 && (r == '-' || r == '_' || r == '.') {
			continue
		}
		return fmt.Errorf("%q is not allowed at byte %d of a name; %s", r, i+1, hint)
	}
	return nil
}
