package flows

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// SyntaxError says where ovs-ofctl text cannot be read, and why.
type SyntaxError struct {
	Line   int // 0 unless the text was read by lines
	Column int // of the offending word, from 1
	Msg    string
}

func (e *SyntaxError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
	}
	return fmt.Sprintf("column %d: %s", e.Column, e.Msg)
}

// word is a piece of the text being parsed and its column, for errors.
type word struct {
	text string
	col  int
}

func (w word) errorf(format string, a ...any) error {
	return &SyntaxError{Column: w.col, Msg: fmt.Sprintf(format, a...)}
}

// from is w without its first n bytes.
func (w word) from(n int) word { return word{w.text[n:], w.col + n} }

// cut splits w round the first sep.
func (w word) cut(sep string) (before, after word, found bool) {
	i := strings.Index(w.text, sep)
	if i < 0 {
		return w, word{"", w.col + len(w.text)}, false
	}
	return word{w.text[:i], w.col}, w.from(i + len(sep)), true
}

func (w word) trim() word {
	t := strings.TrimLeft(w.text, " \t")
	return word{strings.TrimRight(t, " \t"), w.col + len(w.text) - len(t)}
}

// split cuts w at commas and blanks that are outside parentheses.
func (w word) split() ([]word, error) {
	var words []word
	depth, start := 0, -1
	for i := 0; i < len(w.text); i++ {
		c := w.text[i]
		if depth == 0 && (c == ',' || c == ' ' || c == '\t') {
			if start >= 0 {
				words = append(words, word{w.text[start:i], w.col + start})
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return nil, w.from(i).errorf("closing parenthesis without an opening one")
			}
		}
	}
	if depth > 0 {
		return nil, w.from(start).errorf("%q: opening parenthesis without a closing one", w.from(start).text)
	}
	if start >= 0 {
		words = append(words, w.from(start))
	}
	return words, nil
}

// uint is w as a number of at most bits bits, decimal or 0x hexadecimal.
func (w word) uint(bits int) (uint64, error) {
	base, digits := 10, w.text
	if h, ok := strings.CutPrefix(digits, "0x"); ok {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, bits)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return 0, w.errorf("%s: too large, at most %d", w.text, uint64(1)<<bits-1)
		}
		return 0, w.errorf("%q: not a number", w.text)
	}
	return n, nil
}

// ParseFlow reads a flow in the syntax of ovs-ofctl, as add-flow takes it and
// dump-flows prints it; statistics are skipped. The flow is in normal form, and
// its priority 32768 unless the text says otherwise. It is not validated beyond
// its syntax (see Validate). An error is a *SyntaxError.
func ParseFlow(s string) (*Flow, error) {
	st, err := ParseFlowStats(s)
	return st.Flow, err
}

// ParseFlowStats is ParseFlow with the statistics that dump-flows prints.
func ParseFlowStats(s string) (FlowStats, error) {
	st := FlowStats{Flow: &Flow{Priority: defaultPriority}}
	head, actions, found := word{s, 1}.cutActions()
	if !found {
		return FlowStats{}, head.errorf("no actions; end the flow with actions=drop if it has none")
	}
	words, err := head.split()
	if err != nil {
		return FlowStats{}, err
	}
	match := words[:0]
	for _, w := range words {
		key, val, _ := w.cut("=")
		known, err := st.attribute(key, val)
		if err != nil {
			return FlowStats{}, err
		}
		if !known {
			match = append(match, w)
		}
	}
	if st.Flow.Match, err = parseMatch(match); err != nil {
		return FlowStats{}, err
	}
	if err := st.Flow.parseInstructions(actions); err != nil {
		return FlowStats{}, err
	}
	st.Flow = Normalize(st.Flow)
	return st, nil
}

// cutActions splits a flow round "actions=" or "action=".
func (w word) cutActions() (head, actions word, found bool) {
	for i := 0; ; {
		n := strings.Index(w.text[i:], "action")
		if n < 0 {
			return w, word{}, false
		}
		i += n
		rest := w.from(i)
		for _, key := range []string{"actions=", "action="} {
			if strings.HasPrefix(rest.text, key) && (i == 0 || strings.IndexByte(", \t", w.text[i-1]) >= 0) {
				return word{w.text[:i], w.col}, rest.from(len(key)), true
			}
		}
		i++
	}
}

// attribute sets what stands beside the match in a flow, and reports whether key
// is such an attribute.
func (s *FlowStats) attribute(key, val word) (known bool, err error) {
	f := s.Flow
	var n uint64
	switch key.text {
	case "cookie":
		n, err = val.uint(64)
		f.Cookie = Cookie(n)
	case "table":
		n, err = val.uint(8)
		f.Table = uint8(n)
	case "priority":
		n, err = val.uint(16)
		f.Priority = uint16(n)
	case "idle_timeout":
		n, err = val.uint(16)
		f.IdleTimeout = uint16(n)
	case "hard_timeout":
		n, err = val.uint(16)
		f.HardTimeout = uint16(n)
	case "n_packets":
		s.Packets, err = val.uint(64)
	case "n_bytes":
		s.Bytes, err = val.uint(64)
	case "duration":
		secs, _, _ := word{strings.TrimSuffix(val.text, "s"), val.col}.cut(".")
		n, err = secs.uint(32)
		s.Duration = uint32(n)
	case "idle_age", "hard_age":
		_, err = val.uint(32)
	case "send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts":
		err = key.errorf("%s: flow flags are not supported", key.text)
	default:
		return false, nil
	}
	return true, err
}

// maxLine bounds a line of a flow file; Open vSwitch cannot hold a flow as long.
const maxLine = 1 << 20

// ParseFlows reads flows, one a line, as ovs-ofctl add-flows does: empty lines
// and what follows a # are skipped, and so are the heading lines of dump-flows. An
// error is a *SyntaxError with the line, or that of the reader.
func ParseFlows(r io.Reader) ([]*Flow, error) {
	var fs []*Flow
	err := parseLines(r, func(line string) error {
		f, err := ParseFlow(line)
		fs = append(fs, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fs, nil
}

// ParseGroups is ParseFlows for groups.
func ParseGroups(r io.Reader) ([]*Group, error) {
	var gs []*Group
	err := parseLines(r, func(line string) error {
		g, err := ParseGroup(line)
		gs = append(gs, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return gs, nil
}

func parseLines(r io.Reader, parse func(string) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxLine)
	n := 0
	for sc.Scan() {
		n++
		line, _, _ := strings.Cut(sc.Text(), "#")
		heading := strings.HasPrefix(line, "OFPST_") || strings.HasPrefix(line, "NXST_")
		if strings.TrimSpace(line) == "" || heading {
			continue
		}
		if err := parse(line); err != nil {
			var se *SyntaxError
			if errors.As(err, &se) {
				se.Line = n
			}
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}
