package file

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1
	What, Hint   string
	// Problem is what Txn.Commit found wrong, nil if the mistake was found before.
	Problem *topo.Problem
}

// Error is "FILE:line:column: what; hint" on one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.What)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap is the Problem, if there is one.
func (e *Error) Unwrap() error {
	if e.Problem == nil {
		return nil
	}
	return e.Problem
}

// maxErrors is the most mistakes that are reported of one file.
const maxErrors = 1000

// joinErrors is all of them in file order, joined; nil if there are none. more is
// how many there are that are not in the list.
func joinErrors(list []*Error, more int) error {
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var errs []error
	for _, e := range list[:min(len(list), maxErrors)] {
		errs = append(errs, e)
	}
	if more += max(len(list)-maxErrors, 0); more > 0 {
		errs = append(errs, fmt.Errorf("%s: and %d more mistakes", list[0].File, more))
	}
	return errors.Join(errs...)
}

// position is a place in a file.
type position struct{ line, column int }

// place is an attribute of an object, as topo.Problem names them.
type place struct{ object, field string }

// positions are where the attributes of objects are. An empty field is the object.
type positions map[place]position

// find is the position of the attribute or of the nearest thing around it.
func (p positions) find(object, field string) (position, bool) {
	for {
		if at, ok := p[place{object, field}]; ok {
			return at, true
		}
		if field == "" {
			return position{1, 1}, false
		}
		field = field[:max(strings.LastIndexByte(field, '.'), 0)]
	}
}

// Locate finds the Problems in err, which Txn.Commit returned for f.Topology, in
// the file: the result is a list of *Error in file order, joined. An err without Problems
// is returned as it is.
func (f *File) Locate(err error) error {
	problems := topo.Problems(err)
	if len(problems) == 0 {
		return err
	}
	var list []*Error
	for _, p := range problems {
		list = append(list, f.locate(p))
	}
	return joinErrors(list, 0)
}

func (f *File) locate(p *topo.Problem) *Error {
	at, _ := f.positions.find(p.Object, p.Field)
	e := &Error{File: f.source, Line: at.line, Column: at.column, What: p.Object + ": " + p.What, Hint: p.Hint, Problem: p}
	if p.Other == "" || p.Other == p.Object {
		return e
	}
	if other, ok := f.positions.find(p.Other, ""); ok {
		e.What += fmt.Sprintf(" (%s is in line %d)", p.Other, other.line)
	}
	return e
}
