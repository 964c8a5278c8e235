package file

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// nicPorts are the ports that are NICs of f's guests, by name.
func (f *File) nicPorts() map[string]topo.Port {
	nics := map[string]bool{}
	for _, g := range f.Guests {
		for _, n := range g.NICs {
			nics[n.Port] = true
		}
	}
	out := map[string]topo.Port{}
	for _, p := range f.Topology.Ports {
		if nics[p.Name] {
			out[p.Name] = p
		}
	}
	return out
}

// kind writes what differs from DefaultKind.
func kind(k Kind) *flow {
	def, _ := (&File{}).Kind(DefaultKind)
	f := &flow{}
	f.put("name", plain(k.Name))
	for _, v := range []struct{ key, value, without string }{
		{"nic_model", k.NICModel, def.NICModel}, {"disk_bus", k.DiskBus, def.DiskBus},
		{"boot", words(k.Boot), words(def.Boot)},
		{"memory", fmt.Sprint(k.Memory), fmt.Sprint(def.Memory)}, {"cpus", fmt.Sprint(k.CPUs), fmt.Sprint(def.CPUs)},
		{"max_nics", fmt.Sprint(k.MaxNICs), fmt.Sprint(def.MaxNICs)}, {"ready", k.Ready, def.Ready},
		{"nics", words(k.NICs), words(def.NICs)}, {"trunk_profile", k.TrunkProfile.String(), def.TrunkProfile.String()},
	} {
		if v.value != v.without {
			f.put(v.key, v.value)
		}
	}
	return f
}

// guest writes one in block style, with a line for each NIC.
func (w *writer) guest(g Guest, k Kind, ports map[string]topo.Port) {
	f := flow{}
	f.put("name", plain(g.Name))
	if g.UUID != uuid.Nil && g.UUID != topo.DeriveUUID(kindGuest, g.Name) {
		f.put("uuid", quote(g.UUID.String()))
	}
	text := func(key, value string) {
		if value != "" {
			f.put(key, plain(value))
		}
	}
	number := func(key string, value int) {
		if value != 0 {
			f.put(key, fmt.Sprint(value))
		}
	}
	text("host", g.Host)
	text("kind", g.Kind)
	number("memory", g.Memory)
	number("cpus", g.CPUs)
	text("kernel", g.Kernel)
	text("initrd", g.Initrd)
	text("cmdline", g.Cmdline)
	text("cdrom", g.CDROM)
	if len(g.Disks) > 0 {
		disks := make([]string, len(g.Disks))
		for i, d := range g.Disks {
			disks[i] = disk(d)
		}
		f.put("disks", "["+strings.Join(disks, ", ")+"]")
	}
	text("disk_bus", g.DiskBus)
	text("nic_model", g.NICModel)
	if len(g.Boot) > 0 {
		f.put("boot", words(g.Boot))
	}
	text("ready", g.Ready)
	w.item(f)
	if len(g.NICs) > 0 {
		w.line("    nics:")
	}
	for i, n := range g.NICs {
		w.line("      - %s", nic(g, n, ports[n.Port], nicDefaults{k.NICName(i), k.TrunkProfile}))
	}
}

func disk(d Disk) string {
	if formatOf(d.Path) == d.Format {
		return plain(d.Path)
	}
	f := &flow{}
	f.put("path", plain(d.Path))
	f.put("format", d.Format)
	return f.String()
}

func nic(g Guest, n NIC, p topo.Port, def nicDefaults) *flow {
	f := &flow{}
	if n.Name != def.name {
		f.put("name", plain(n.Name))
	}
	if n.Port != g.Name+"-"+n.Name {
		f.put("port", plain(n.Port))
	}
	if p.UUID != uuid.Nil && p.UUID != topo.DeriveUUID(topo.KindPort, p.Name) {
		f.put("uuid", quote(p.UUID.String()))
	}
	if p.Network != "" {
		f.put("network", plain(p.Network))
	}
	profile := topo.ProfileHost
	if p.Trunk != nil {
		profile = def.trunkProfile
	}
	if p.Profile != profile {
		f.put("profile", p.Profile.String())
	}
	f.rest(p)
	return f
}

// words is a list of plain words.
func words(list []string) string {
	out := slices.Clone(list)
	for i := range out {
		out[i] = plain(out[i])
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// strayNICs are the ports of the section ports that cannot be the guest's NIC
// that they say they are, and names that stand for two things of one host.
func (f *File) strayNICs() (problems []*topo.Problem) {
	nics, guests := f.nicPorts(), map[string]Guest{}
	for _, g := range f.Guests {
		guests[g.Name] = g
	}
	for _, p := range f.Topology.Ports {
		object := topo.KindPort + " " + p.Name
		if _, ok := nics[p.Name]; ok {
			continue
		}
		if g, ok := guests[p.Guest]; ok {
			problems = append(problems, &topo.Problem{Object: object, Field: "guest", Other: kindGuest + " " + g.Name,
				What: fmt.Sprintf("guest %s is in this file, and the port is none of its NICs", g.Name),
				Hint: "write the port as one of the guest's nics"})
			continue
		}
		netns := p.Netns
		if netns == "" {
			netns = p.Name
		}
		if g, ok := guests[netns]; ok && p.Guest == "" && p.Host != "" && p.Host == g.Host {
			problems = append(problems, &topo.Problem{Object: object, Field: "netns", Other: kindGuest + " " + g.Name,
				What: fmt.Sprintf("namespace %s on host %s has the name of guest %s there", netns, p.Host, g.Name),
				Hint: "give one of the two another name: commands for them are addressed HOST/NAME"})
		}
	}
	return problems
}
