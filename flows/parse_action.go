package flows

import "strings"

// call splits NAME, NAME:ARG or NAME(ARG).
func (w word) call() (name string, arg word, hasArg bool) {
	i := strings.IndexAny(w.text, ":(")
	if i < 0 {
		return w.text, word{"", w.col + len(w.text)}, false
	}
	arg = w.from(i + 1)
	if w.text[i] == '(' && strings.HasSuffix(arg.text, ")") {
		arg.text = arg.text[:len(arg.text)-1]
	}
	return w.text[:i], arg, true
}

// parseInstructions reads what follows actions=.
func (f *Flow) parseInstructions(w word) error {
	words, err := w.split()
	if err != nil {
		return err
	}
	if len(words) == 1 && words[0].text == "drop" {
		return nil
	}
	if len(words) == 0 {
		return w.errorf("no actions; write drop if there are none")
	}
	for _, w := range words {
		name, arg, _ := w.call()
		var n uint64
		switch name {
		case "meter":
			n, err = arg.uint(32)
			f.Meter = uint32(n)
		case "clear_actions":
			f.ClearActions = true
		case "write_actions":
			f.Write, err = parseActions(arg)
		case "write_metadata":
			var v, mask Value
			v, mask, err = parseMasked(Metadata, arg)
			f.Metadata, f.MetadataMask = v.Lo, mask.Lo
		case "goto_table":
			n, err = arg.uint(8)
			f.Goto = uint8(n)
		default:
			f.Apply, err = appendAction(f.Apply, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseActions reads a list of actions as in a bucket of ovs-ofctl; "drop" is none.
func parseActions(w word) ([]Action, error) {
	words, err := w.split()
	if err != nil {
		return nil, err
	}
	if len(words) == 1 && words[0].text == "drop" {
		return nil, nil
	}
	var as []Action
	for _, w := range words {
		if as, err = appendAction(as, w); err != nil {
			return nil, err
		}
	}
	return as, nil
}

// appendAction appends the action that w is; a set-field that a switch splits
// becomes several.
func appendAction(as []Action, w word) ([]Action, error) {
	if name, arg, _ := w.call(); name == "enqueue" {
		return appendEnqueue(as, arg)
	}
	a, err := parseAction(w)
	if err != nil {
		return nil, err
	}
	if s, ok := a.(SetField); ok && !s.normal() {
		return s.appendSplit(as), nil
	}
	return append(as, a), nil
}

func parseAction(w word) (Action, error) {
	name, arg, hasArg := w.call()
	switch name {
	case "output":
		return parseOutput(arg)
	case "controller", "CONTROLLER":
		return parseController(arg, hasArg)
	case "group":
		n, err := arg.uint(32)
		return ToGroup{uint32(n)}, err
	case "set_field":
		return parseSetField(arg)
	case "load":
		return parseLoad(arg)
	case "move":
		return parseMove(arg)
	case "push_vlan":
		n, err := arg.uint(16)
		return PushVLAN{uint16(n)}, err
	case "pop_vlan", "strip_vlan":
		return PopVLAN{}, noArg(w, hasArg)
	case "dec_ttl":
		return parseDecTTL(arg, hasArg)
	case "resubmit":
		return parseResubmit(arg)
	case "ct":
		return parseCT(arg)
	case "ct_clear":
		return CTClear{}, noArg(w, hasArg)
	case "drop":
		return nil, w.errorf("drop: stands alone or not at all")
	}
	if f, ok := wholeFields[name]; ok {
		return parseWhole(f, arg)
	}
	if a, known, err := parseExtension(name, arg, hasArg); known {
		return a, err
	}
	if RefusedAction(name) != nil {
		return nil, w.refused(name)
	}
	if !hasArg {
		if port, err := parsePort(w); err == nil {
			return Output{port}, nil
		}
	}
	return nil, w.errorf("%q: unknown action", name)
}

func noArg(w word, hasArg bool) error {
	if hasArg {
		return w.errorf("%q: takes no argument here", w.text)
	}
	return nil
}

func parseOutput(arg word) (Action, error) {
	if strings.Contains(arg.text, "=") {
		return parseTruncated(arg)
	}
	if strings.HasSuffix(arg.text, "]") {
		s, err := parseSource(arg)
		return OutputReg{Src: s, MaxLen: MaxLenAll}, err
	}
	if f, ok := ByName(arg.text); ok {
		return OutputReg{Src: wholeField(f), MaxLen: MaxLenAll}, nil
	}
	port, err := parsePort(arg)
	if port == PortController {
		return ToController{MaxLen: MaxLenAll}, err
	}
	return Output{port}, err
}

// wholeFields are the older names for setting one field. Open vSwitch takes two of
// them for actions of their own, which do the same.
var wholeFields = map[string]Field{
	"mod_dl_src": EthSrc, "mod_dl_dst": EthDst, "set_tunnel": TunID, "set_tunnel64": TunID,
	"mod_nw_src": IPv4Src, "mod_nw_dst": IPv4Dst, "mod_nw_tos": IPDSCP, "mod_nw_ecn": IPECN, "mod_nw_ttl": IPTTL,
	"set_mpls_label": MPLSLabel, "set_mpls_tc": MPLSTC, "set_mpls_ttl": MPLSTTL,
}

func parseWhole(f Field, arg word) (Action, error) {
	if f == IPDSCP {
		_, v, _, err := parseEntry(nil, word{"nw_tos", arg.col}, arg)
		return Set(f, v), err
	}
	v, err := parseValue(f, arg)
	return Set(f, v), err
}

// parseSetField reads VALUE[/MASK]->FIELD.
func parseSetField(arg word) (Action, error) {
	val, dst, ok := arg.cut("->")
	if !ok {
		return nil, arg.errorf("set_field: want VALUE[/MASK]->FIELD")
	}
	f, known := ByName(dst.text)
	if f == InPort {
		return nil, dst.errorf("set_field: Open vSwitch takes no set_field of in_port; write load:PORT->OXM_OF_IN_PORT[]")
	}
	if !known {
		return nil, dst.unknownField()
	}
	if !f.Writable() {
		return nil, dst.errorf("set_field: %s cannot be written", f)
	}
	v, mask, err := parseMasked(f, val)
	return SetField{f, v, mask}, err
}

// parseLoad reads VALUE->FIELD[BITS].
func parseLoad(arg word) (Action, error) {
	val, dst, ok := arg.cut("->")
	if !ok {
		return nil, arg.errorf("load: want VALUE->FIELD[BITS]")
	}
	n, err := val.uint(64)
	if err != nil {
		return nil, err
	}
	if dst.text == inPort16+"[]" {
		if n > 0xffff {
			return nil, val.errorf("%s: more than the 16 bits of %s", val.text, dst.text)
		}
		return Set(InPort, U(uint64(Port32(uint16(n))))), nil
	}
	s, err := parseSubfield(dst)
	if err != nil {
		return nil, err
	}
	if !s.Field.Writable() {
		return nil, dst.errorf("load: %s cannot be written", s.Field)
	}
	if !U(n).AndNot(lowBits(s.Bits)).IsZero() {
		return nil, val.errorf("%s: more than the %d bits of %s", val.text, s.Bits, dst.text)
	}
	mask := lowBits(s.Bits).Shl(uint(s.Offset))
	return SetField{s.Field, U(n).Shl(uint(s.Offset)), mask}, nil
}

// parseMove reads FIELD[BITS]->FIELD[BITS].
func parseMove(arg word) (Action, error) {
	from, to, ok := arg.cut("->")
	if !ok {
		return nil, arg.errorf("move: want FIELD[BITS]->FIELD[BITS]")
	}
	src, err := parseSource(from)
	if err != nil {
		return nil, err
	}
	dst, err := parseSubfield(to)
	if err != nil {
		return nil, err
	}
	if src.Bits != dst.Bits {
		return nil, arg.errorf("move: %d bits to %d bits", src.Bits, dst.Bits)
	}
	if !dst.Field.Writable() {
		return nil, to.errorf("move: %s cannot be written", dst.Field)
	}
	return Move{src, dst}, nil
}

// inPort16 is in_port with the 16 bits of OpenFlow 1.0. What it is read for are the low
// bits of InPort, and loading the whole of it is setting InPort.
const inPort16 = "NXM_OF_IN_PORT"

// Port32 is the number of OpenFlow 1.3 of a port that has a 16-bit one.
func Port32(n uint16) uint32 {
	if n < 0xff00 {
		return uint32(n)
	}
	return 0xffff0000 | uint32(n)
}

// parseSource is parseSubfield of bits that are read.
func parseSource(w word) (Subfield, error) {
	name, bits, _ := w.cut("[")
	if name.text != inPort16 && name.text != "in_port" {
		return parseSubfield(w)
	}
	if bits.text == "]" {
		return Subfield{Field: InPort, Bits: 16}, nil
	}
	s, err := parseSubfield(word{InPort.Symbol() + w.text[len(name.text):], w.col})
	if err == nil && s.Offset+s.Bits > 16 {
		err = bits.errorf("[%s: not bits of %s, which has 16", bits.text, name.text)
	}
	return s, err
}

// unknownField is what is wrong with a word that should be a field.
func (w word) unknownField() error {
	if err := RefusedField(w.text); err != nil {
		return w.errorf("%v", err)
	}
	return w.errorf("%q: unknown field", w.text)
}

// parseSubfield reads FIELD[], FIELD[BIT] and FIELD[FROM..TO], the field by its
// NXM or OXM name or its own.
func parseSubfield(w word) (Subfield, error) {
	name, bits, ok := w.cut("[")
	if !ok || !strings.HasSuffix(bits.text, "]") {
		return Subfield{}, w.errorf("%q: want FIELD[] or FIELD[FROM..TO]", w.text)
	}
	bits.text = bits.text[:len(bits.text)-1]
	if name.text == "in_port" {
		name.text = inPort16
	}
	f, known := BySymbol(name.text)
	if !known {
		f, known = ByName(name.text)
	}
	if !known {
		return Subfield{}, name.unknownField()
	}
	if bits.text == "" {
		return wholeField(f), nil
	}
	lo, hi, ranged := bits.cut("..")
	from, err := lo.uint(16)
	if err != nil {
		return Subfield{}, err
	}
	to := from
	if ranged {
		if to, err = hi.uint(16); err != nil {
			return Subfield{}, err
		}
	}
	if from > to || to >= uint64(f.loadBits()) {
		return Subfield{}, bits.errorf("[%s]: not bits of %s, which has %d", bits.text, f, f.loadBits())
	}
	return Subfield{f, uint16(from), uint16(to - from + 1)}, nil
}

// loadBits is the width of a field in load and move, where vlan_vid is without
// its present bit.
func (f Field) loadBits() uint16 {
	if f == VLANVID {
		return 12
	}
	return f.Bits()
}

func wholeField(f Field) Subfield { return Subfield{Field: f, Bits: f.loadBits()} }

// parseResubmit reads PORT, (PORT,TABLE) and (,TABLE).
func parseResubmit(arg word) (Action, error) {
	port, table, both := arg.cut(",")
	if t, rest, more := table.cut(","); more {
		if rest.trim().text != "ct" {
			return nil, rest.errorf("%q: resubmit takes a port, a table and ct", rest.text)
		}
		return nil, t.refused("resubmit(ct)")
	}
	r := Resubmit{Port: PortInPort, Table: currentTable}
	var err error
	if port = port.trim(); port.text != "" {
		if r.Port, err = parsePort(port); err != nil {
			return nil, err
		}
	}
	if table = table.trim(); both && table.text != "" {
		n, err := table.uint(8)
		if err != nil {
			return nil, err
		}
		r.Table = uint8(n)
	}
	if port.text == "" && r.Table == currentTable {
		return nil, arg.errorf("resubmit: want a port, a table or both")
	}
	return r, nil
}
