package file

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/nearest"
)

// decoder walks the syntax tree. It collects mistakes and goes on with what is
// left, so that one run finds all of them.
type decoder struct {
	file   *File
	errors []*Error // the first maxErrors of them
	count  int      // of all
	// bad are the attributes, by object, that were wrong as text: what validation says
	// about them, or about objects that refer to theirs, is a consequence.
	bad        map[string][]string
	guestUUIDs uuidOwners
	images     images
}

func (d *decoder) fail(at position, what, hint string) {
	if d.count++; d.count > maxErrors {
		return
	}
	d.errors = append(d.errors, &Error{File: d.file.source, Line: at.line, Column: at.column, What: what, Hint: hint})
}

// covers reports whether the problem follows from a mistake in the text.
func (d *decoder) covers(p *topo.Problem) bool {
	if strings.HasPrefix(p.Other, topo.KindNetwork+" ") && len(d.bad[p.Other]) > 0 {
		return true // an address is outside of subnets that could not be read
	}
	return slices.ContainsFunc(d.bad[p.Object], func(field string) bool {
		return within(field, p.Field) || within(p.Field, field)
	})
}

// spoil notes that an attribute was wrong as text.
func (d *decoder) spoil(object, field string) {
	if object != "" && len(d.bad[object]) < maxErrors {
		d.bad[object] = append(d.bad[object], field)
	}
}

// within reports whether one path is the other one or leads there.
func within(outer, inner string) bool {
	return outer == "" || outer == inner || strings.HasPrefix(inner, outer+".")
}

// fields are the entries of a mapping whose keys have been checked.
type fields struct {
	d      *decoder
	what   string // for messages: "a port", "port red-a"
	object string // for positions; empty where no object is
	path   string // of this mapping within the object, with a final dot
	at     position
	values map[string]ast.Node
	// misspelt are the keys that unknown ones probably stand for.
	misspelt []string
}

// mapping takes a mapping apart: unknown and repeated keys are mistakes. The result
// is never nil; ok says whether n is a mapping at all.
func (d *decoder) mapping(n ast.Node, what string, known ...string) (fs *fields, ok bool) {
	fs = &fields{d: d, what: what, at: nodeAt(n), values: map[string]ast.Node{}}
	entries, ok := d.entries(n, what)
	for _, e := range entries {
		if _, twice := fs.values[e.key]; twice {
			d.fail(e.at, fmt.Sprintf("%s has %q twice", what, e.key), "remove one")
			continue
		}
		valid := false
		for _, k := range known {
			valid = valid || k == e.key
		}
		if !valid {
			hint := "use " + strings.Join(known, ", ")
			if k := nearest.To(e.key, known); k != "" {
				hint = fmt.Sprintf("did you mean %q?", k)
				fs.misspelt = append(fs.misspelt, k)
			}
			d.fail(e.at, fmt.Sprintf("%s has no %q", what, clip(e.key)), hint)
			continue
		}
		fs.values[e.key] = e.value
	}
	return fs, ok
}

// entry is one key of a mapping and its value.
type entry struct {
	key   string
	at    position
	value ast.Node
}

// entries are those of a mapping, in the order of the file.
func (d *decoder) entries(n ast.Node, what string) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.fail(nodeAt(n), fmt.Sprintf("%s must be a mapping, not %s", what, kindOf(n)), "write it like {key: value}")
		return nil, false
	}
	var out []entry
	for _, v := range values {
		key, ok := scalar(v.Key)
		if !ok || key == "" {
			d.fail(at(v.Key.GetToken()), fmt.Sprintf("a key of %s must be a plain word, not %s", what, kindOf(v.Key)), "write it like {key: value}")
			continue
		}
		out = append(out, entry{key, at(v.Key.GetToken()), v.Value})
	}
	return out, true
}

// scalar is the text of a scalar as it is written.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "that"
}

// clip keeps what is quoted in a message short.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// has reports whether a key is there, be it misspelt, so that it is not
// called missing as well.
func (fs *fields) has(key string) bool {
	_, ok := fs.values[key]
	return ok || slices.Contains(fs.misspelt, key)
}

// of says whose fields these are and remembers where they are.
func (fs *fields) of(object, path string) {
	fs.object, fs.path = object, path
	fs.d.file.positions[place{object, strings.TrimSuffix(path, ".")}] = fs.at
	for _, key := range fs.misspelt {
		fs.d.spoil(object, path+key)
	}
	for key, n := range fs.values {
		if n != nil {
			fs.d.file.positions[place{object, path + key}] = nodeAt(n)
		}
	}
}

// wrong reports a value that cannot be read.
func (fs *fields) wrong(n ast.Node, key, what, hint string) {
	fs.d.spoil(fs.object, fs.path+key)
	fs.d.fail(nodeAt(n), what, hint)
}

// text is a value that must be a string, "" if there is none. What looks like a number or a
// truth value is not one: the reader would not get what the writer wrote.
func (fs *fields) text(key string) string {
	n, ok := fs.values[key]
	if !ok {
		return ""
	}
	s, isString := n.(*ast.StringNode)
	if !isString {
		hint := "write a word"
		if raw, ok := scalar(n); ok {
			hint = fmt.Sprintf("put quotes around it: \"%s\"", clip(raw))
		}
		fs.wrong(n, key, fmt.Sprintf("%s of %s must be text, not %s", key, fs.what, kindOf(n)), hint)
		return ""
	}
	if s.Value == "" {
		fs.wrong(n, key, fmt.Sprintf("%s of %s is empty", key, fs.what), "give it a value or remove the key")
	}
	return s.Value
}

// list is the items of a value that must be a list.
func (fs *fields) list(key string) []ast.Node {
	n, ok := fs.values[key]
	if !ok {
		return nil
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		fs.wrong(n, key, fmt.Sprintf("%s of %s must be a list, not %s", key, fs.what, kindOf(n)), "write it like [a, b]")
		return nil
	}
	return s.Values
}

// parsed is a value that parse makes of its text, the zero T if there is none.
// What parse says is wrong and what to do are parted by "; ".
func parsed[T any](fs *fields, key string, parse func(string) (T, error)) (v T) {
	n, ok := fs.values[key]
	if !ok {
		return v
	}
	return parsedNode(fs, key, n, parse)
}

func parsedNode[T any](fs *fields, key string, n ast.Node, parse func(string) (T, error)) (v T) {
	s, ok := scalar(n)
	if !ok {
		fs.wrong(n, key, fmt.Sprintf("%s of %s must be a single value, not %s", label(key), fs.what, kindOf(n)), "write one value")
		return v
	}
	v, err := parse(s)
	if err != nil {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		fs.wrong(n, key, fmt.Sprintf("%s of %s: %s", label(key), fs.what, what), hint)
	}
	return v
}

// label is the name of a field in messages: that of the list for an item of one.
func label(key string) string {
	key, _, _ = strings.Cut(key, ".")
	return key
}

// parsedList is a list of values that parse makes of their texts. Those that are
// wrong are left out; positions count all of them only while none is.
func parsedList[T any](fs *fields, key string, parse func(string) (T, error)) []T {
	var out []T
	for _, n := range fs.list(key) {
		item := fmt.Sprintf("%s.%d", key, len(out))
		before := fs.d.count
		v := parsedNode(fs, item, n, parse)
		if fs.d.count > before {
			fs.d.spoil(fs.object, fs.path+key)
			continue
		}
		if fs.object != "" {
			fs.d.file.positions[place{fs.object, fs.path + item}] = nodeAt(n)
		}
		out = append(out, v)
	}
	return out
}
