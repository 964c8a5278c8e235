package file

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Format is f as canonical YAML: one object a line, networks under their tenant,
// nothing that would be filled in the same without being said. Parse of it gives
// f again if f is valid.
func Format(f File) []byte {
	w := &writer{}
	w.line("name: %s", plain(f.Name))
	if len(f.Underlay.Subnets) > 0 || f.Underlay.MTU != DefaultMTU {
		w.line("underlay: %s", underlay(f.Underlay))
	}
	w.section("hosts", len(f.Topology.Hosts))
	for _, h := range f.Topology.Hosts {
		o := w.object(topo.KindHost, h.Name, h.Name, h.UUID)
		if h.TEP.IsValid() {
			o.put("tep", plain(h.TEP.String()))
		}
		w.line("  - %s", o)
	}
	networks := map[string][]topo.Network{}
	for _, n := range f.Topology.Networks {
		networks[n.Tenant] = append(networks[n.Tenant], n)
	}
	w.section("tenants", len(f.Topology.Tenants))
	for _, t := range f.Topology.Tenants {
		w.tenant(t, networks[t.Name])
	}
	nics := f.nicPorts()
	w.section("ports", len(f.Topology.Ports)-len(nics))
	for _, p := range f.Topology.Ports {
		if _, ok := nics[p.Name]; !ok {
			w.line("  - %s", w.port(p))
		}
	}
	w.section("kinds", len(f.Kinds))
	for _, k := range f.Kinds {
		w.line("  - %s", kind(k))
	}
	w.section("guests", len(f.Guests))
	for _, g := range f.Guests {
		k, _ := f.Kind(g.Kind)
		w.guest(g, k, nics)
	}
	return w.buf.Bytes()
}

// writer makes the text; flow collects the entries of one mapping.
type (
	writer struct{ buf bytes.Buffer }
	flow   []string
)

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.buf, format, args...)
	w.buf.WriteByte('\n')
}

func (w *writer) section(key string, items int) {
	if items > 0 {
		w.line("%s:", key)
	}
}

func (f *flow) put(key, value string) { *f = append(*f, key+": "+value) }

func (f flow) String() string { return "{" + strings.Join(f, ", ") + "}" }

// object begins a mapping with the name, and the UUID unless it would be derived.
func (w *writer) object(kind, name, fullName string, u uuid.UUID) *flow {
	f := &flow{}
	f.put("name", plain(name))
	if u != uuid.Nil && u != topo.DeriveUUID(kind, fullName) {
		f.put("uuid", quote(u.String()))
	}
	return f
}

func underlay(u Underlay) *flow {
	f := &flow{}
	switch len(u.Subnets) {
	case 0:
	case 1:
		f.put("subnet", plain(u.Subnets[0].String()))
	default:
		f.put("subnets", list(u.Subnets))
	}
	f.put("mtu", fmt.Sprint(u.MTU))
	return f
}

func (w *writer) tenant(t topo.Tenant, networks []topo.Network) {
	o := w.object(topo.KindTenant, t.Name, t.Name, t.UUID)
	if len(networks) == 0 {
		w.line("  - %s", o)
		return
	}
	w.item(*o)
	w.line("    networks:")
	for _, n := range networks {
		o := w.object(topo.KindNetwork, n.Name, n.FullName(), n.UUID)
		if n.Type != topo.TypeOverlay {
			o.put("type", n.Type.String())
		}
		o.put("encap", n.Encap.String())
		if n.Key != 0 && !n.KeyAllocated {
			o.put("key", fmt.Sprint(n.Key))
		}
		if n.Carrier != topo.CarrierIgnore {
			o.put("carrier", n.Carrier.String())
		}
		if len(n.Subnets) > 0 {
			o.put("subnets", list(n.Subnets))
		}
		if n.Answer != topo.AnswerBound {
			o.put("answer", n.Answer.String())
		}
		w.line("      - %s", o)
	}
}

// item writes a mapping in block style, as an item of a list.
func (w *writer) item(entries flow) {
	for i, entry := range entries {
		indent := "  - "
		if i > 0 {
			indent = "    "
		}
		w.line("%s%s", indent, entry)
	}
}

func (w *writer) port(p topo.Port) *flow {
	o := w.object(topo.KindPort, p.Name, p.Name, p.UUID)
	if p.Network != "" {
		o.put("network", plain(p.Network))
	}
	for _, v := range []struct{ key, value string }{{"host", p.Host}, {"netns", p.Netns}, {"interface", p.Interface}, {"guest", p.Guest}} {
		if v.value != "" {
			o.put(v.key, plain(v.value))
		}
	}
	if p.Profile != topo.ProfileHost {
		o.put("profile", p.Profile.String())
	}
	o.rest(p)
	return o
}

// rest adds what ports and NICs are written alike in.
func (f *flow) rest(p topo.Port) {
	if p.MACs != 0 {
		f.put("macs", fmt.Sprint(p.MACs))
	}
	if !p.MAC.IsZero() {
		f.put("mac", quote(p.MAC.String()))
	}
	if len(p.Addresses) > 0 {
		f.put("addresses", list(p.Addresses))
	}
	if p.Trunk != nil {
		f.put("trunk", trunk(p.Trunk).String())
	}
	if p.MigrateTo != "" {
		f.put("migrate_to", plain(p.MigrateTo))
	}
}

func trunk(t *topo.Trunk) *flow {
	f := &flow{}
	if t.Native != nil {
		f.put("native", subPort(*t.Native))
	}
	if len(t.VLANs) > 0 {
		vlans := &flow{}
		for _, s := range t.VLANs {
			vlans.put(fmt.Sprint(s.VLAN), subPort(s))
		}
		f.put("vlans", vlans.String())
	}
	return f
}

func subPort(s topo.SubPort) string {
	if len(s.Addresses) == 0 {
		return plain(s.Network)
	}
	f := &flow{}
	f.put("network", plain(s.Network))
	f.put("addresses", list(s.Addresses))
	return f.String()
}

func list[T fmt.Stringer](items []T) string {
	parts := make([]string, len(items))
	for i, v := range items {
		parts[i] = plain(v.String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Words that no YAML reader takes for anything but text, and IPv4 addresses.
var (
	word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)
	ipv4 = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?$`)
)

// plain is the text without quotes where that is safe.
func plain(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return quote(s)
	}
	if word.MatchString(s) || ipv4.MatchString(s) {
		return s
	}
	return quote(s)
}

// quote is the text in double quotes. Everything valid is printable ASCII, for
// which the escapes of Go are those of YAML.
func quote(s string) string { return fmt.Sprintf("%q", s) }
