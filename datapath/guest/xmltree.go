package guest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// MaxXML is the most that is read of a domain or a network, in bytes. A domain
	// with a hundred devices has about 40,000.
	MaxXML = 1 << 20
	// maxXMLDepth and maxElements bound what one file may cost.
	maxXMLDepth = 32
	maxElements = 50_000
	maxAttrs    = 64
)

// element is one of a file that is read. What is asked for is marked, so that what
// nobody asked for can be named in the end.
type element struct {
	file     string
	line     int // from 1
	name     string
	parent   *element
	attrs    []xml.Attr
	text     []byte
	children []*element

	seen      bool
	seenAttrs map[string]bool
}

// parseXML is the root of a file, whose name errors begin with. The file is
// untrusted: its size, nesting and number of elements are bounded, and document
// types, with which entities are declared, are refused.
func parseXML(file string, data []byte) (*element, error) {
	if len(data) > MaxXML {
		return nil, fmt.Errorf("%s:1: the file has %d bytes, more than %d", file, len(data), MaxXML)
	}
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.CharsetReader = func(label string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("%.60q is not UTF-8, which libvirt writes; convert the file, for example with iconv", label)
	}
	var root, at *element
	depth, elements := 0, 0
	for {
		line, _ := dec.InputPos()
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...))
		}
		token, err := dec.Token()
		var syntax *xml.SyntaxError
		switch {
		case errors.Is(err, io.EOF) && root == nil:
			return nil, fmt.Errorf("%s:1: there is no XML element; give the output of virsh dumpxml or net-dumpxml", file)
		case errors.Is(err, io.EOF):
			return root, nil
		case errors.As(err, &syntax):
			return nil, fmt.Errorf("%s:%d: the XML is malformed: %.200s", file, syntax.Line, syntax.Msg)
		case err != nil:
			return nil, bad("the XML is malformed: %.200v", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxXMLDepth {
				return nil, bad("elements are nested more than %d deep", maxXMLDepth)
			}
			if elements++; elements > maxElements {
				return nil, bad("there are more than %d elements", maxElements)
			}
			if root != nil && at == nil {
				return nil, bad("there is a second element <%.60s> behind the first; give one file for each", t.Name.Local)
			}
			e := &element{file: file, line: line, name: t.Name.Local, parent: at, attrs: t.Copy().Attr, seenAttrs: map[string]bool{}}
			if t.Name.Space != "" {
				e.name = t.Name.Space + " " + e.name
			}
			if len(e.attrs) > maxAttrs {
				return nil, bad("<%.60s> has more than %d attributes", e.name, maxAttrs)
			}
			for i, a := range e.attrs {
				if slices.ContainsFunc(e.attrs[:i], func(b xml.Attr) bool { return a.Name == b.Name }) {
					return nil, bad("<%.60s> has the attribute %.60s twice", e.name, a.Name.Local)
				}
			}
			if at == nil {
				root = e
			} else {
				at.children = append(at.children, e)
			}
			at = e
		case xml.EndElement:
			depth--
			at = at.parent
		case xml.CharData:
			if at != nil {
				at.text = append(at.text, t...)
			}
		case xml.Directive:
			return nil, bad("document types are not part of libvirt's XML; remove <!%.20s…>", t)
		}
	}
}

// wrong is an error at the element.
func (e *element) wrong(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", e.file, e.line, fmt.Sprintf(format, args...))
}

// all are the children of that name, which are marked.
func (e *element) all(name string) (out []*element) {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			c.seen = true
			out = append(out, c)
		}
	}
	return out
}

// one is the first child of that name, nil if there is none. Others stay unmarked.
func (e *element) one(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			c.seen = true
			return c
		}
	}
	return nil
}

// attr is an attribute, which is marked; "" if there is none.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if a.Name.Local == name && a.Name.Space == "" {
			e.seenAttrs[name] = true
			return a.Value
		}
	}
	return ""
}

// content is the text of an element without the space around it.
func (e *element) content() string {
	if e == nil {
		return ""
	}
	return string(bytes.TrimSpace(e.text))
}

// skip marks an element with all that is in it: nothing is lost by leaving it out.
func (e *element) skip() {
	if e == nil {
		return
	}
	e.seen = true
	for _, a := range e.attrs {
		e.seenAttrs[a.Name.Local] = true
	}
	for _, c := range e.children {
		c.skip()
	}
}

// forget unmarks an element, so that it is named as lost.
func (e *element) forget() { e.seen = false }

// Lost is something in a file that was not taken over.
type Lost struct {
	File string
	Line int
	What string
}

// String is "FILE:LINE: WHAT".
func (l Lost) String() string { return fmt.Sprintf("%s:%d: %s", l.File, l.Line, l.What) }

// maxLost is the most that is said to be lost of one file: nobody reads more.
const maxLost = 200

// lost adds what nobody has asked for: elements that were not marked, and attributes
// of those that were.
func (e *element) lost(out []Lost) []Lost {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local != "xmlns" && !e.seenAttrs[a.Name.Local] {
			out = e.report(out, fmt.Sprintf("attribute %.60s=%.60q of <%s>", a.Name.Local, a.Value, e.path()))
		}
	}
	for _, c := range e.children {
		if c.seen {
			out = c.lost(out)
			continue
		}
		out = c.report(out, "<"+c.path()+">"+c.hint())
	}
	return out
}

func (e *element) report(out []Lost, what string) []Lost {
	switch {
	case len(out) < maxLost:
		return append(out, Lost{e.file, e.line, what + " is not carried over"})
	case len(out) == maxLost:
		return append(out, Lost{e.file, e.line, "and more is not carried over from here on"})
	}
	return out
}

// path is the way to the element below the root.
func (e *element) path() string {
	if e.parent == nil || e.parent.parent == nil {
		return fmt.Sprintf("%.60s", e.name)
	}
	return e.parent.path() + "/" + fmt.Sprintf("%.60s", e.name)
}

// hint tells elements of one name apart.
func (e *element) hint() string {
	for _, name := range []string{"type", "model", "mode"} {
		for _, a := range e.attrs {
			if a.Name.Local == name {
				return fmt.Sprintf(" (%s %.60s)", name, a.Value)
			}
		}
	}
	if text := e.content(); text != "" && len(e.children) == 0 {
		return fmt.Sprintf(" (%.60s)", text)
	}
	return ""
}
