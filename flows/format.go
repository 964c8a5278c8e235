package flows

import (
	"fmt"
	"strconv"
	"strings"
)

// FormatOptions says how Format writes what has a name. The zero value writes
// numbers only, which ovs-ofctl takes back.
type FormatOptions struct {
	// TableName is the name of a table, "" to write its number.
	TableName func(uint8) string
	// PortName is the name of an OpenFlow port, "" to write its number.
	PortName func(uint32) string
	// GroupName is the name of a group, "" to write its number.
	GroupName func(uint32) string
	// FieldName is the name of a field, "" to write that of ovs-ofctl. It is for
	// registers, whose meaning is the pipeline's.
	FieldName func(Field) string
	// ValueName is the name of a value that a whole field is compared with or set
	// to, "" to write it as ovs-ofctl does.
	ValueName func(Field, Value) string
}

// printer appends ovs-ofctl text to b.
type printer struct {
	FormatOptions
	b []byte
}

func (p *printer) str(s string)              { p.b = append(p.b, s...) }
func (p *printer) printf(f string, a ...any) { p.b = fmt.Appendf(p.b, f, a...) }
func (p *printer) dec(v uint64)              { p.b = strconv.AppendUint(p.b, v, 10) }

// hex writes zero without a prefix, as C's %#x does.
func (p *printer) hex(v uint64) {
	if v != 0 {
		p.str("0x")
	}
	p.b = strconv.AppendUint(p.b, v, 16)
}

// String is the flow as `ovs-ofctl --no-names --no-stats dump-flows` prints it; it
// can be given to ovs-ofctl add-flow as it is.
func (f *Flow) String() string { return f.Format(FormatOptions{}) }

// Format is the flow as ovs-ofctl prints it, with names where o has them.
func (f *Flow) Format(o FormatOptions) string {
	p := printer{FormatOptions: o, b: make([]byte, 0, 256)}
	p.flow(f, nil)
	return string(p.b)
}

// String is the flow with its statistics as ovs-ofctl dump-flows prints it.
func (s FlowStats) String() string { return s.Format(FormatOptions{}) }

// Format is the flow with its statistics as ovs-ofctl dump-flows prints it, with
// names where o has them.
func (s FlowStats) Format(o FormatOptions) string {
	p := printer{FormatOptions: o, b: make([]byte, 0, 320)}
	p.flow(s.Flow, &s)
	return string(p.b)
}

// defaultPriority is the priority ovs-ofctl assumes and does not print.
const defaultPriority = 32768

func (p *printer) flow(f *Flow, s *FlowStats) {
	if s != nil || f.Cookie != 0 {
		p.printf("cookie=0x%x, ", uint64(f.Cookie))
	}
	if s != nil {
		p.printf("duration=%ds, ", s.Duration)
	}
	if s != nil || f.Table != 0 {
		p.str("table=")
		p.table(f.Table)
		p.str(", ")
	}
	if s != nil {
		p.printf("n_packets=%d, n_bytes=%d, ", s.Packets, s.Bytes)
	}
	if f.IdleTimeout != 0 {
		p.printf("idle_timeout=%d, ", f.IdleTimeout)
	}
	if f.HardTimeout != 0 {
		p.printf("hard_timeout=%d, ", f.HardTimeout)
	}
	n := len(p.b)
	if f.Priority != defaultPriority {
		p.printf("priority=%d,", f.Priority)
	}
	p.match(f.Match)
	if len(p.b) > n {
		p.b[len(p.b)-1] = ' ' // the comma after the last entry
	}
	p.str("actions=")
	p.instructions(f)
}

// String is the match as in a flow of ovs-ofctl, "" for a match of everything.
func (m Match) String() string { return m.Format(FormatOptions{}) }

// Format is the match as in a flow of ovs-ofctl, with names where o has them; ""
// for a match of everything.
func (m Match) Format(o FormatOptions) string {
	p := printer{FormatOptions: o}
	p.match(m)
	return strings.TrimSuffix(string(p.b), ",")
}

func (p *printer) table(n uint8) {
	if p.TableName != nil {
		if name := p.TableName(n); name != "" {
			p.str(quoteName(name))
			return
		}
	}
	p.dec(uint64(n))
}

var reservedPorts = map[uint32]string{
	PortInPort: "IN_PORT", PortTable: "TABLE", PortNormal: "NORMAL", PortFlood: "FLOOD",
	PortAll: "ALL", PortController: "CONTROLLER", PortLocal: "LOCAL", PortAny: "ANY",
}

func (p *printer) port(n uint32) {
	if name, ok := reservedPorts[n]; ok {
		p.str(name)
		return
	}
	if p.PortName != nil {
		if name := p.PortName(n); name != "" {
			p.str(quoteName(name))
			return
		}
	}
	p.dec(uint64(n))
}

// quoteName is a name as ovs-ofctl writes it: quoted unless it is an identifier.
func quoteName(s string) string {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			return strconv.Quote(s)
		}
	}
	return s
}

func (p *printer) instructions(f *Flow) {
	n := len(p.b)
	if f.Meter != 0 {
		p.printf("meter:%d,", f.Meter)
	}
	p.actions(f.Apply)
	if f.ClearActions {
		p.str("clear_actions,")
	}
	if len(f.Write) > 0 {
		p.str("write_actions(")
		p.actions(f.Write)
		p.b[len(p.b)-1] = ')'
		p.str(",")
	}
	if f.MetadataMask != 0 {
		p.str("write_metadata:")
		p.hex(f.Metadata)
		if f.MetadataMask != ^uint64(0) {
			p.str("/")
			p.hex(f.MetadataMask)
		}
		p.str(",")
	}
	if f.Goto != 0 {
		p.str("goto_table:")
		p.table(f.Goto)
		p.str(",")
	}
	if len(p.b) == n {
		p.str("drop")
		return
	}
	p.b = p.b[:len(p.b)-1]
}

// actions writes each action and a comma.
func (p *printer) actions(as []Action) {
	for _, a := range as {
		p.action(a)
		p.str(",")
	}
}

func (p *printer) action(a Action) {
	switch a := a.(type) {
	case Output:
		if _, reserved := reservedPorts[a.Port]; !reserved {
			p.str("output:")
		}
		if a.Port == PortController {
			p.str("CONTROLLER:0") // no MaxLen is a MaxLen of 0
			return
		}
		p.port(a.Port)
	case ToController:
		p.toController(a)
	case OutputReg:
		p.str("output:")
		p.subfield(a.Src)
	case ToGroup:
		p.str("group:")
		p.group(a.ID)
	case SetField:
		p.setField(a)
	case Move:
		p.str("move:")
		p.subfield(a.Src)
		p.str("->")
		p.subfield(a.Dst)
	case PushVLAN:
		p.printf("push_vlan:0x%04x", a.EtherType)
	case PopVLAN:
		p.str("pop_vlan")
	case DecTTL:
		p.decTTL(a)
	case Resubmit:
		p.resubmit(a)
	case CT:
		p.ct(a)
	case CTClear:
		p.str("ct_clear")
	default:
		p.extension(a)
	}
}

func (p *printer) resubmit(a Resubmit) {
	if a.Table == currentTable {
		p.str("resubmit:")
		p.port(a.Port)
		return
	}
	p.str("resubmit(")
	if a.Port != PortInPort {
		p.port(a.Port)
	}
	p.str(",")
	p.table(a.Table)
	p.str(")")
}

// currentTable is the table number by which a resubmit means its own table.
const currentTable = 255

// setField writes a whole field as set_field and a run of bits as load. A mask of
// several runs, which is not in normal form, is a set_field with a mask.
func (p *printer) setField(a SetField) {
	mask := a.Mask.And(a.Field.FullMask())
	// The switch takes no set_field of in_port, only a load.
	if (mask != a.Field.FullMask() || a.Field == InPort) && a.normal() {
		from := a.Mask.trailingZeros()
		p.str("load:")
		p.hex(a.Value.Shr(uint(from)).Lo)
		p.str("->")
		p.subfield(Subfield{a.Field, uint16(from), uint16(a.Mask.onesCount())})
		return
	}
	p.str("set_field:")
	if mask == a.Field.FullMask() {
		p.named(a.Field, a.Value)
	} else {
		p.value(a.Field, a.Value)
		p.str("/")
		p.value(a.Field, mask)
	}
	p.str("->")
	p.field(a.Field, a.Field.Name())
}

// field writes the field's name, otherwise is what ovs-ofctl calls it here.
func (p *printer) field(f Field, otherwise string) {
	if p.FieldName != nil {
		if name := p.FieldName(f); name != "" {
			p.str(name)
			return
		}
	}
	p.str(otherwise)
}

// named writes a value of the whole field, by its name if it has one.
func (p *printer) named(f Field, v Value) {
	if p.ValueName != nil {
		if name := p.ValueName(f, v); name != "" {
			p.str(name)
			return
		}
	}
	p.value(f, v)
}

func (p *printer) group(id uint32) {
	if p.GroupName != nil {
		if name := p.GroupName(id); name != "" {
			p.str(name)
			return
		}
	}
	p.dec(uint64(id))
}

func (p *printer) subfield(s Subfield) {
	p.field(s.Field, s.Field.Symbol())
	switch {
	case s.Offset == 0 && s.Bits == s.Field.loadBits():
		p.str("[]")
	case s.Bits == 1:
		p.printf("[%d]", s.Offset)
	default:
		p.printf("[%d..%d]", s.Offset, s.Offset+s.Bits-1)
	}
}

// FormatActions is a list of actions as in a bucket or flow of ovs-ofctl.
func FormatActions(as []Action, o FormatOptions) string {
	if len(as) == 0 {
		return "drop"
	}
	p := printer{FormatOptions: o}
	p.actions(as)
	return string(p.b[:len(p.b)-1])
}

var groupTypes = [...]string{GroupAll: "all", GroupSelect: "select", GroupIndirect: "indirect", GroupFastFailover: "ff"}

// String is the group as ovs-ofctl dump-groups prints it over OpenFlow 1.3.
func (g *Group) String() string { return g.Format(FormatOptions{}) }

// Format is the group as ovs-ofctl prints it, with names where o has them.
func (g *Group) Format(o FormatOptions) string {
	p := printer{FormatOptions: o, b: make([]byte, 0, 64+64*len(g.Buckets))}
	p.str("group_id=")
	p.group(g.ID)
	p.str(",type=")
	if int(g.Type) < len(groupTypes) {
		p.str(groupTypes[g.Type])
	} else {
		p.dec(uint64(g.Type))
	}
	for _, b := range g.Buckets {
		p.str(",bucket=")
		if b.Weight != defaultWeight(g.Type) {
			p.printf("weight:%d,", b.Weight)
		}
		if b.WatchPort != PortAny {
			p.str("watch_port:")
			p.port(b.WatchPort)
			p.str(",")
		}
		if b.WatchGroup != GroupAny {
			p.printf("watch_group:%d,", b.WatchGroup)
		}
		p.str("actions=")
		if len(b.Actions) == 0 {
			p.str("drop")
			continue
		}
		p.actions(b.Actions)
		p.b = p.b[:len(p.b)-1]
	}
	return string(p.b)
}

// defaultWeight is the weight ovs-ofctl gives a bucket that names none.
func defaultWeight(t GroupType) uint16 {
	if t == GroupSelect {
		return 1
	}
	return 0
}

// String is the meter as ovs-ofctl add-meter takes it.
func (m *Meter) String() string {
	p := printer{}
	unit := "kbps"
	if m.Pktps {
		unit = "pktps"
	}
	p.printf("meter=%d,%s,", m.ID, unit)
	for _, b := range m.Bands {
		if b.Burst != 0 {
			p.str("burst,")
			break
		}
	}
	p.str("bands=")
	for i, b := range m.Bands {
		if i > 0 {
			p.str(",")
		}
		p.printf("type=drop,rate=%d", b.Rate)
		if b.Burst != 0 {
			p.printf(",burst_size=%d", b.Burst)
		}
	}
	return string(p.b)
}
