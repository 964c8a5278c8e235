package file

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is the largest file that is read, in bytes: room for about 40,000 ports.
	MaxSize = 4 << 20
	// maxDepth is the deepest nesting of [] and {}. The format needs four.
	maxDepth = 16
	// maxIndent is the column beyond which no block may start, which bounds
	// the nesting of blocks.
	maxIndent = 64
	// maxBlockWork bounds the sum over all block mappings of the square of their
	// keys, which is what the parser takes time for: 10⁸ are about half a second.
	// Twelve trunks with all 4,094 VLANs in block style are within it, or any
	// number in flow style.
	maxBlockWork = 100_000_000
	// maxItems is the most items of block lists in a file; the parser's time
	// grows faster than their number.
	maxItems = 100_000
)

// parseYAML is the root of the one document in data, nil if it is empty. The
// parser takes time that grows with the square of the nesting, so the tokens are
// checked before it sees them.
func parseYAML(name string, data []byte) (ast.Node, error) {
	fail := func(at position, what, hint string) error {
		return joinErrors([]*Error{{File: name, Line: at.line, Column: at.column, What: what, Hint: hint}}, 0)
	}
	if len(data) > MaxSize {
		return nil, fail(position{1, 1}, fmt.Sprintf("the file has %d bytes, more than %d", len(data), MaxSize), "split the topology")
	}
	if at, what := checkText(data); what != "" {
		return nil, fail(at, what, "save the file as UTF-8 text")
	}
	// A byte order mark is part of no key (YAML 1.2 section 5.2), and the lexer takes it for one.
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	tokens := lexer.Tokenize(string(data))
	if tk, what, hint := checkTokens(tokens); tk != nil {
		return nil, fail(at(tk), what, hint)
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	var syntax *yaml.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fail(at(syntax.Token), "the YAML is malformed: "+syntax.Message, "check brackets, quotes and indentation here and in the line before")
	case err != nil:
		return nil, fail(position{1, 1}, "the YAML is malformed: "+firstLine(err.Error()), "check brackets, quotes and indentation")
	}
	var root ast.Node
	for _, d := range doc.Docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			return nil, fail(nodeAt(d.Body), "there is a second document", "one file is one topology: remove it")
		}
		root = d.Body
	}
	return root, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// checkText refuses what is no text, before the scanner can be confused by it.
func checkText(data []byte) (position, string) {
	p := position{1, 1}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			return p, "the file is not UTF-8"
		case r < ' ' && r != '\n' && r != '\t' && r != '\r', r == 0x7f, r == 0xfeff && p != position{1, 1}:
			return p, fmt.Sprintf("there is a control character (U+%04X)", r)
		}
		p.column++
		if r == '\n' {
			p = position{p.line + 1, 1}
		}
		data = data[n:]
	}
	return position{}, ""
}

// checkTokens finds what this format does without, and what would cost the
// parser too much: deep nesting, and very many keys in block style.
func checkTokens(tokens token.Tokens) (tk *token.Token, what, hint string) {
	depth, line, work, items := 0, 0, 0, 0
	var keys [maxIndent + 2]int // so many keys in the open block mapping at that column
	for i, tk := range tokens {
		column := min(max(tk.Position.Column, 1), maxIndent+1)
		first := tk.Position.Line != line
		line = tk.Position.Line
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return tk, "anchors, aliases and merge keys are not part of a topology file", "write the value out, or put quotes around it"
		case token.TagType, token.DirectiveType:
			return tk, "tags and directives are not part of a topology file", "remove it"
		case token.SequenceStartType, token.MappingStartType:
			if depth++; depth > maxDepth {
				return tk, fmt.Sprintf("brackets are nested more than %d deep", maxDepth), "close some before here"
			}
		case token.SequenceEndType, token.MappingEndType:
			depth = max(depth-1, 0)
		case token.SequenceEntryType, token.MappingKeyType:
			first = true
			if items++; items > maxItems {
				return tk, fmt.Sprintf("the lists of the file have more than %d items", maxItems), "split the topology"
			}
		case token.MappingValueType:
			if depth > 0 || i == 0 {
				break
			}
			key := min(max(tokens[i-1].Position.Column, 1), maxIndent+1)
			keys[key]++
			if work += 2 * keys[key]; work > maxBlockWork {
				return tk, "there are too many keys in block style", "write large mappings in flow style: {key: value, …}"
			}
		}
		if !first || depth > 0 {
			continue
		}
		if column > maxIndent {
			return tk, fmt.Sprintf("a block starts beyond column %d", maxIndent), "indent by two"
		}
		clear(keys[column+1:]) // the blocks further in have ended
	}
	return nil, "", ""
}

// at is where a token is. The scanner leaves some positions unset.
func at(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}

// nodeAt is where a node starts. The token of a block mapping is its first
// colon, so its first key is taken instead.
func nodeAt(n ast.Node) position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return at(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return at(n.Key.GetToken())
	}
	return at(n.GetToken())
}
