package flows

import (
	"encoding/hex"
	"strings"
)

// reasonNames are the words for the reasons of a ToController.
var reasonNames = [...]string{ReasonAction: "action", ReasonNoMatch: "no_match", ReasonInvalidTTL: "invalid_ttl",
	ReasonActionSet: "action_set", ReasonGroup: "group", ReasonPacketOut: "packet_out"}

// toController writes what ovs-ofctl prints of the short action and of the long one.
func (p *printer) toController(a ToController) {
	if a.Plain() {
		p.printf("CONTROLLER:%d", a.MaxLen)
		return
	}
	p.str("controller(")
	if a.Reason != ReasonAction && int(a.Reason) < len(reasonNames) {
		p.printf("reason=%s,", reasonNames[a.Reason])
	}
	if a.MaxLen != MaxLenAll {
		p.printf("max_len=%d,", a.MaxLen)
	}
	if a.ID != 0 {
		p.printf("id=%d,", a.ID)
	}
	if a.UserData != "" {
		p.str("userdata=")
		p.hexBytes(a.UserData)
		p.str(",")
	}
	if a.Pause {
		p.str("pause,")
	}
	if a.Meter != 0 {
		p.printf("meter_id=%d,", a.Meter)
	}
	p.b[len(p.b)-1] = ')'
}

func (p *printer) hexBytes(s string) {
	for i := range len(s) {
		if i > 0 {
			p.str(".")
		}
		p.printf("%02x", s[i])
	}
}

func (p *printer) decTTL(a DecTTL) {
	p.str("dec_ttl")
	if a.IDs == "" {
		return
	}
	sep := "("
	for _, id := range a.ControllerIDs() {
		p.printf("%s%d", sep, id)
		sep = ","
	}
	p.str(")")
}

// ControllerIDs are the IDs of the connections that are sent an expired packet.
func (a DecTTL) ControllerIDs() []uint16 {
	if a.IDs == "" {
		return []uint16{0}
	}
	var ids []uint16
	for i := 0; i+1 < len(a.IDs); i += 2 {
		ids = append(ids, uint16(a.IDs[i])<<8|uint16(a.IDs[i+1]))
	}
	return ids
}

// extension writes the actions that the pipeline does not use.
func (p *printer) extension(a Action) {
	switch a := a.(type) {
	case OutputTrunc:
		p.str("output(port=")
		p.port(a.Port)
		p.printf(",max_len=%d)", a.MaxLen)
	case PushMPLS:
		p.printf("push_mpls:0x%04x", a.EtherType)
	case PopMPLS:
		p.printf("pop_mpls:0x%04x", a.EtherType)
	case DecMPLSTTL:
		p.str("dec_mpls_ttl")
	case Push:
		p.str("push:")
		p.subfield(a.Src)
	case Pop:
		p.str("pop:")
		p.subfield(a.Dst)
	case SetQueue:
		p.printf("set_queue:%d", a.ID)
	case PopQueue:
		p.str("pop_queue")
	case CheckLarger:
		p.printf("check_pkt_larger(%d)->", a.Len)
		p.subfield(a.Dst)
	case Note:
		p.str("note:")
		p.hexBytes(a.Data)
	case FinTimeout:
		p.str("fin_timeout(")
		n := len(p.b)
		if a.Idle != 0 {
			p.printf("idle_timeout=%d,", a.Idle)
		}
		if a.Hard != 0 {
			p.printf("hard_timeout=%d,", a.Hard)
		}
		if len(p.b) > n {
			p.b = p.b[:len(p.b)-1]
		}
		p.str(")")
	case Exit:
		p.str("exit")
	case Clone:
		p.str("clone(")
		p.actions(a.Actions())
		if a.list != nil {
			p.b = p.b[:len(p.b)-1]
		}
		p.str(")")
	}
}

// parseExtension reads an action that the pipeline does not use. It reports false for a
// name that is none.
func parseExtension(name string, arg word, hasArg bool) (a Action, known bool, err error) {
	var n uint64
	switch name {
	case "push_mpls":
		n, err = arg.uint(16)
		a = PushMPLS{uint16(n)}
	case "pop_mpls":
		n, err = arg.uint(16)
		a = PopMPLS{uint16(n)}
	case "dec_mpls_ttl":
		a, err = DecMPLSTTL{}, noArg(arg, hasArg)
	case "push":
		var s Subfield
		s, err = parseSource(arg)
		a = Push{s}
	case "pop":
		a, err = parsePop(arg)
	case "set_queue":
		n, err = arg.uint(32)
		a = SetQueue{uint32(n)}
	case "pop_queue":
		a, err = PopQueue{}, noArg(arg, hasArg)
	case "check_pkt_larger":
		a, err = parseCheckLarger(arg)
	case "note":
		a, err = parseNote(arg)
	case "fin_timeout":
		a, err = parseFinTimeout(arg)
	case "exit":
		a, err = Exit{}, noArg(arg, hasArg)
	case "clone":
		var as []Action
		as, err = parseActions(arg)
		a = NewClone(as...)
	default:
		return nil, false, nil
	}
	return a, true, err
}

// parseController reads controller, controller:N and controller(KEY=VALUE,…).
func parseController(arg word, hasArg bool) (Action, error) {
	a := ToController{MaxLen: MaxLenAll}
	if !hasArg {
		return a, nil
	}
	words, err := arg.split()
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, arg.errorf("controller: want a length, max_len=N or meter_id=N")
	}
	for _, w := range words {
		key, val, named := w.cut("=")
		if !named && w.text != "pause" {
			key, val = word{text: "max_len"}, w
		}
		var n uint64
		switch key.text {
		case "max_len":
			n, err = val.uint(16)
			a.MaxLen = uint16(n)
		case "meter_id":
			n, err = val.uint(32)
			a.Meter = uint32(n)
		case "id":
			n, err = val.uint(16)
			a.ID = uint16(n)
		case "reason":
			a.Reason, err = parseReason(val)
		case "userdata":
			a.UserData, err = parseHexBytes(val)
		case "pause":
			a.Pause = true
		default:
			err = key.errorf("controller: %q is not supported", key.text)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func parseReason(w word) (PacketInReason, error) {
	for r, name := range reasonNames {
		if name == w.text {
			return PacketInReason(r), nil
		}
	}
	return 0, w.errorf("%q: not a reason for a packet-in", w.text)
}

func parseHexBytes(w word) (string, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(w.text, ".", ""))
	if err != nil {
		return "", w.errorf("%q: want pairs of hexadecimal digits", w.text)
	}
	return string(b), nil
}

// parseNote reads the bytes of a note, which the switch fills up with zeros.
func parseNote(arg word) (Action, error) {
	data, err := parseHexBytes(arg)
	for len(data)%8 != 6 {
		data += "\x00"
	}
	return Note{data}, err
}

// parseTruncated reads port=N,max_len=N.
func parseTruncated(arg word) (Action, error) {
	words, err := arg.split()
	if err != nil {
		return nil, err
	}
	var a OutputTrunc
	for _, w := range words {
		key, val, _ := w.cut("=")
		switch key.text {
		case "port":
			a.Port, err = parsePort(val)
		case "max_len":
			var n uint64
			n, err = val.uint(32)
			a.MaxLen = uint32(n)
		default:
			err = key.errorf("output: %q is not known", key.text)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

func parseDecTTL(arg word, hasArg bool) (Action, error) {
	if !hasArg {
		return DecTTL{}, nil
	}
	words, err := arg.split()
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, arg.errorf("dec_ttl: want the IDs of controllers")
	}
	var ids []byte
	for _, w := range words {
		n, err := w.uint(16)
		if err != nil {
			return nil, err
		}
		ids = append(ids, byte(n>>8), byte(n))
	}
	return DecTTL{string(ids)}, nil
}

func parsePop(arg word) (Action, error) {
	s, err := parseSubfield(arg)
	if err == nil && !s.Field.Writable() {
		err = arg.errorf("pop: %s cannot be written", s.Field)
	}
	return Pop{s}, err
}

// parseCheckLarger reads what is behind the name and the parenthesis: N)->FIELD[BIT].
func parseCheckLarger(arg word) (Action, error) {
	length, dst, ok := arg.cut(")->")
	if !ok {
		return nil, arg.errorf("check_pkt_larger: want (LENGTH)->FIELD[BIT]")
	}
	n, err := length.uint(16)
	if err != nil {
		return nil, err
	}
	s, err := parseSubfield(dst)
	if err == nil && !s.Field.Writable() {
		err = dst.errorf("check_pkt_larger: %s cannot be written", s.Field)
	}
	return CheckLarger{uint16(n), s}, err
}

func parseFinTimeout(arg word) (Action, error) {
	words, err := arg.split()
	if err != nil {
		return nil, err
	}
	var a FinTimeout
	for _, w := range words {
		key, val, _ := w.cut("=")
		n, err := val.uint(16)
		if err != nil {
			return nil, err
		}
		switch key.text {
		case "idle_timeout":
			a.Idle = uint16(n)
		case "hard_timeout":
			a.Hard = uint16(n)
		default:
			return nil, key.errorf("fin_timeout: %q is not known", key.text)
		}
	}
	return a, nil
}

// appendEnqueue appends what OpenFlow 1.3 has for enqueue(PORT,QUEUE) and
// enqueue:PORT:QUEUE.
func appendEnqueue(as []Action, arg word) ([]Action, error) {
	port, queue, ok := arg.cut(",")
	if !ok {
		port, queue, ok = arg.cut(":")
	}
	if !ok {
		return nil, arg.errorf("enqueue: want PORT:QUEUE")
	}
	p, err := parsePort(port.trim())
	if err != nil {
		return nil, err
	}
	q, err := queue.trim().uint(32)
	return append(as, SetQueue{uint32(q)}, Output{p}, PopQueue{}), err
}
