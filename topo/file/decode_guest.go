package file

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/google/uuid"

	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/nearest"
)

const (
	minMemory, maxMemory = 16, 1 << 20 // MiB
	maxCPUs              = 255         // of qemu's machine pc
	// maxNICName is IFNAMSIZ less its final zero byte.
	maxNICName = 15
	// maxPath is Linux's PATH_MAX less its final zero byte, maxCmdline what an
	// x86 Linux reads (COMMAND_LINE_SIZE) less its own.
	maxPath, maxCmdline = 4095, 2047
	// maxSuggestions bounds the search for what was meant among all hosts.
	maxSuggestions = 32
)

var (
	parseBus    = oneOf("disk bus", "ide", "sata", "scsi", "virtio")
	parseModel  = oneOf("NIC model", "e1000", "virtio")
	parseReady  = oneOf("sign of readiness", "address", "frame", "lldp")
	parseBoot   = oneOf("boot device", "cdrom", "disk")
	parseFormat = oneOf("disk format", "raw", "qcow2", "vmdk")
)

// kind decodes a kind of the file's own. What it leaves out is as in DefaultKind.
func (d *decoder) kind(n ast.Node) {
	fs, ok := d.mapping(n, "a kind", "name", "nic_model", "disk_bus", "boot", "memory", "cpus", "max_nics", "ready", "nics", "trunk_profile")
	if !ok {
		return
	}
	name, ok := d.declare(fs, kindKind, "")
	if !ok {
		return
	}
	if slices.ContainsFunc(BuiltinKinds(), func(k Kind) bool { return k.Name == name }) {
		fs.wrong(fs.values["name"], "name", fmt.Sprintf("kind %s is built in", name), "give your own kind another name")
		return
	}
	k, _ := (&File{}).Kind(DefaultKind)
	k.Name = name
	read(fs, "nic_model", &k.NICModel, parseModel)
	read(fs, "disk_bus", &k.DiskBus, parseBus)
	read(fs, "memory", &k.Memory, between(minMemory, maxMemory))
	read(fs, "cpus", &k.CPUs, between(1, maxCPUs))
	read(fs, "max_nics", &k.MaxNICs, between(1, MaxNICs))
	read(fs, "ready", &k.Ready, parseReady)
	read(fs, "trunk_profile", &k.TrunkProfile, topo.ParseProfile)
	if _, ok := fs.values["boot"]; ok {
		k.Boot = d.boot(fs)
	}
	if n, ok := fs.values["nics"]; ok {
		before := d.count
		names := parsedList(fs, "nics", parseNICName)
		if d.count == before && len(names) == 0 {
			fs.wrong(n, "nics", fmt.Sprintf("nics of kind %s is empty", name), "name at least the first network card, like [eth0]")
		}
		if len(names) > 0 {
			k.NICs = names
		}
	}
	if len(k.NICs) < k.MaxNICs && k.NICName(len(k.NICs)) == "" {
		fs.wrong(fs.values["nics"], "nics", fmt.Sprintf("the last of the nics of kind %s, %s, does not end in a number to count on from", name, k.NICs[len(k.NICs)-1]),
			fmt.Sprintf("name a numbered one last, or all %d (max_nics)", k.MaxNICs))
		return
	}
	d.file.Kinds = append(d.file.Kinds, k)
}

func (d *decoder) guest(n ast.Node) {
	fs, ok := d.mapping(n, "a guest", "name", "uuid", "host", "kind", "memory", "cpus", "kernel", "initrd", "cmdline",
		"cdrom", "disks", "disk_bus", "nic_model", "boot", "ready", "nics")
	if !ok {
		return
	}
	name, ok := d.declare(fs, kindGuest, "")
	if !ok {
		return
	}
	g := Guest{Name: name, Host: fs.text("host"), Kind: fs.text("kind"), UUID: parsed(fs, "uuid", parseUUID)}
	read(fs, "memory", &g.Memory, between(minMemory, maxMemory))
	read(fs, "cpus", &g.CPUs, between(1, maxCPUs))
	read(fs, "kernel", &g.Kernel, parsePath)
	read(fs, "initrd", &g.Initrd, parsePath)
	read(fs, "cmdline", &g.Cmdline, parseCmdline)
	read(fs, "cdrom", &g.CDROM, parsePath)
	read(fs, "disk_bus", &g.DiskBus, parseBus)
	read(fs, "nic_model", &g.NICModel, parseModel)
	read(fs, "ready", &g.Ready, parseReady)
	for i, n := range fs.list("disks") {
		if disk, ok := d.disk(fs, n, fmt.Sprintf("disks.%d", i)); ok {
			g.Disks = append(g.Disks, disk)
			d.claim(disk.Path, image{guest: name, at: nodeAt(n), written: true})
		}
	}
	if g.CDROM != "" {
		d.claim(g.CDROM, image{guest: name, at: nodeAt(fs.values["cdrom"])})
	}
	g.Boot = d.boot(fs)
	k, known := d.file.Kind(g.Kind)
	if n, given := fs.values["kind"]; !known && given {
		fs.wrong(n, "kind", fmt.Sprintf("guest %s: there is no kind %q", name, clip(g.Kind)), d.meantKind(g.Kind))
	}
	if !known {
		k, _ = d.file.Kind(DefaultKind)
	}
	d.guestHost(fs, g)
	d.nics(fs, &g, k)
	if known {
		d.checkGuest(fs, g)
	}
	d.file.Guests = append(d.file.Guests, g)
}

func (d *decoder) meantKind(name string) string {
	var names []string
	for _, k := range slices.Concat(BuiltinKinds(), d.file.Kinds) {
		names = append(names, k.Name)
	}
	if meant := nearest.To(name, names); meant != "" {
		return fmt.Sprintf("did you mean %q?", meant)
	}
	return "use " + strings.Join(names, ", ") + ", or declare it under kinds"
}

// guestHost reports an unknown host once, where the guest says it, and not for
// each of its ports.
func (d *decoder) guestHost(fs *fields, g Guest) {
	if _, declared := d.file.positions[place{topo.KindHost + " " + g.Host, ""}]; declared || g.Host == "" {
		return
	}
	hint := "declare the host, or correct the name"
	if d.count < maxSuggestions {
		hosts := make([]string, 0, len(d.file.Topology.Hosts))
		for _, h := range d.file.Topology.Hosts {
			hosts = append(hosts, h.Name)
		}
		if meant := nearest.To(g.Host, hosts); meant != "" {
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
	}
	fs.wrong(fs.values["host"], "host", fmt.Sprintf("guest %s: there is no host %q", g.Name, clip(g.Host)), hint)
}

// boot is the order of devices to boot from, each once.
func (d *decoder) boot(fs *fields) []string {
	out := parsedList(fs, "boot", parseBoot)
	for i, device := range out {
		if slices.Contains(out[:i], device) {
			fs.wrong(fs.values["boot"], "boot", fmt.Sprintf("boot of %s has %s twice", fs.what, device), "remove one")
			return nil
		}
	}
	return out
}

// disk is the path of an image, or a mapping with the path and the format.
func (d *decoder) disk(guest *fields, n ast.Node, path string) (disk Disk, ok bool) {
	before := d.count
	at := n
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		fs, _ := d.mapping(n, "a disk of "+guest.what, "path", "format")
		if p, ok := fs.values["path"]; ok {
			at = p
		} else if !fs.has("path") {
			d.fail(fs.at, fs.what+" has no path", "write {path: FILE, format: raw}")
		}
		read(fs, "path", &disk.Path, parsePath)
		read(fs, "format", &disk.Format, parseFormat)
	default:
		disk.Path = parsedNode(guest, path, n, parsePath)
	}
	if d.count == before && disk.Format == "" {
		if disk.Format = formatOf(disk.Path); disk.Format == "" {
			d.fail(nodeAt(at), fmt.Sprintf("the format of disk %s of %s is not to be told from its name", clip(disk.Path), guest.what),
				"write {path: FILE, format: raw}, or qcow2 or vmdk")
		}
	}
	if d.count > before {
		d.spoil(guest.object, path)
		return Disk{}, false
	}
	return disk, true
}

// formatOf is the format of an image by its file name, "" if the name does not tell.
func formatOf(path string) string {
	switch path = strings.ToLower(path); {
	case strings.HasSuffix(path, ".vmdk"):
		return "vmdk"
	case strings.HasSuffix(path, ".qcow2"):
		return "qcow2"
	case strings.HasSuffix(path, ".img"), strings.HasSuffix(path, ".raw"):
		return "raw"
	}
	return ""
}

// nics decodes the network cards of g, each of which is a port.
func (d *decoder) nics(fs *fields, g *Guest, k Kind) {
	items := fs.list("nics")
	if len(items) > k.MaxNICs {
		d.fail(nodeAt(items[k.MaxNICs]), fmt.Sprintf("guest %s has %d NICs, and a %s has room for %d", g.Name, len(items), k.Name, k.MaxNICs),
			"spread them over several guests, or carry several networks on one trunk")
		d.spoil(fs.object, "nics")
		items = items[:k.MaxNICs]
	}
	names, macs := map[string]bool{}, map[topo.MAC]string{}
	for i, n := range items {
		p, ok := d.nic(fs, n, g, nicDefaults{k.NICName(i), k.TrunkProfile})
		if !ok {
			continue
		}
		if names[p.Interface] {
			d.fail(nodeAt(n), fmt.Sprintf("guest %s has NIC %s twice", g.Name, p.Interface), "give one of the two another name")
		}
		names[p.Interface] = true
		if other := macs[p.MAC]; other != "" && !p.MAC.IsZero() {
			at, _ := d.file.positions.find(topo.KindPort+" "+p.Name, "mac")
			d.fail(at, fmt.Sprintf("Ethernet address %s of NIC %s is already that of NIC %s of guest %s", p.MAC, p.Interface, other, g.Name),
				"give one of the two another address, or leave it out to have one derived from the port's name")
			d.spoil(topo.KindPort+" "+p.Name, "mac")
		}
		macs[p.MAC] = p.Interface
		g.NICs = append(g.NICs, NIC{Name: p.Interface, Port: p.Name})
		d.file.nicAt[p.Name] = len(d.file.Topology.Ports)
		d.file.Topology.Ports = append(d.file.Topology.Ports, p)
	}
}

// nicDefaults are what a network card has from the guest's kind.
type nicDefaults struct {
	name         string
	trunkProfile topo.Profile
}

// nic decodes one network card as the port that it is.
func (d *decoder) nic(guest *fields, n ast.Node, g *Guest, def nicDefaults) (p topo.Port, ok bool) {
	fs, ok := d.mapping(n, "a NIC of "+guest.what, "name", "port", "uuid", "mac", "profile", "macs", "network", "addresses", "trunk", "migrate_to")
	if !ok {
		return p, false
	}
	before := d.count
	p = topo.Port{Guest: g.Name, Host: g.Host, Interface: def.name}
	read(fs, "name", &p.Interface, parseNICName)
	if d.count > before {
		return p, false
	}
	if p.Name = fs.text("port"); p.Name == "" {
		p.Name = g.Name + "-" + p.Interface
	}
	if err := topo.CheckName(p.Name); err != nil {
		what, hint, _ := strings.Cut(err.Error(), "; ")
		d.fail(fs.at, fmt.Sprintf("port %s of NIC %s of guest %s: %s", clip(p.Name), p.Interface, g.Name, what), "give the NIC a port name of its own: "+hint)
		return p, false
	}
	object := topo.KindPort + " " + p.Name
	if first, twice := d.file.positions[place{object, ""}]; twice {
		d.fail(fs.at, fmt.Sprintf("%s is declared twice, first in line %d", object, first.line), "give the NIC a port of another name, like {port: NAME}")
		return p, false
	}
	fs.what = object
	fs.of(object, "")
	d.nicPlaces(guest, fs)
	p.UUID = parsed(fs, "uuid", parseUUID)
	p.MAC = parsed(fs, "mac", parseMAC)
	p.Network, p.MigrateTo = fs.text("network"), fs.text("migrate_to")
	p.Addresses = parsedList(fs, "addresses", parseAddr)
	if n, ok := fs.values["trunk"]; ok {
		p.Trunk, p.Profile = d.trunk(n, object), def.trunkProfile
	}
	read(fs, "profile", &p.Profile, topo.ParseProfile)
	p.MACs = parsed(fs, "macs", parseMACs)
	return p, true
}

// nicPlaces says where the attributes of a port are that its NIC has by other
// names or from the guest. What is wrong with the guest's host is said there.
func (d *decoder) nicPlaces(guest, nic *fields) {
	at := d.file.positions
	at[place{nic.object, "interface"}], _ = at.find(nic.object, "name")
	at[place{nic.object, "name"}], _ = at.find(nic.object, "port")
	at[place{nic.object, "host"}], _ = at.find(guest.object, "host")
	if slices.Contains(d.bad[guest.object], "host") {
		d.spoil(nic.object, "host")
	}
}

// checkGuest finds what does not go together.
func (d *decoder) checkGuest(fs *fields, g Guest) {
	wrong := func(key, what, hint string) {
		if n, ok := fs.values[key]; ok {
			fs.wrong(n, key, "guest "+g.Name+": "+what, hint)
			return
		}
		d.fail(fs.at, "guest "+g.Name+": "+what, hint)
	}
	all := d.file.Resolve(g)
	if first, taken := d.guestUUIDs[all.UUID]; taken {
		wrong("uuid", fmt.Sprintf("UUID %s is already that of guest %s", all.UUID, first), "leave it out to have one derived from the name")
	} else {
		d.guestUUIDs[all.UUID] = g.Name
	}
	if bus, why := bootsFrom(all.Kind); bus != "" && all.DiskBus != bus {
		wrong("disk_bus", fmt.Sprintf("disk bus %s is not for kind %s: %s", all.DiskBus, all.Kind, why), "write disk_bus: "+bus+", or leave it out")
	}
	if len(g.Disks) > MaxDisks {
		wrong("disks", fmt.Sprintf("%d disks are more than %d", len(g.Disks), MaxDisks), "put more into one image")
	}
	d.checkBoot(wrong, fs, g)
	if g.Ready == "address" && !d.file.hasAddress(g) {
		wrong("ready", "it is to be ready when it answers at an address, and none of its NICs has one on untagged frames",
			"give a NIC an address, or write ready: frame")
	}
}

// checkBoot finds contradictions in what the guest is booted from.
func (d *decoder) checkBoot(wrong func(key, what, hint string), fs *fields, g Guest) {
	given := func(key string) bool { return fs.has(key) }
	switch {
	case given("kernel") && given("cdrom"):
		wrong("cdrom", "there are both a kernel, which is booted without a boot loader, and a CD to boot from", "remove one")
	case given("kernel") && given("boot"):
		wrong("boot", "there are both a kernel, which is booted without a boot loader, and an order of devices to boot from", "remove one")
	case given("kernel") && g.Kind == "veos":
		wrong("kernel", "a veos is started by Aboot, not by a kernel", "give Aboot's ISO as cdrom, and the image as disks")
	case given("kernel"):
		return
	case given("initrd"):
		wrong("initrd", "there is an initrd, and no kernel to use it", "give the kernel, or remove the initrd")
	case given("cmdline"):
		wrong("cmdline", "there is a kernel command line, and no kernel to read it", "give the kernel, or remove cmdline: a boot loader has its own")
	case !given("cdrom") && !given("disks"):
		wrong("", "there is nothing to boot from", "give it a kernel, a cdrom or disks")
	case slices.Contains(g.Boot, "cdrom") && !given("cdrom"):
		wrong("boot", "it is to boot from a CD, and there is none", "give it a cdrom, or remove cdrom from boot")
	case slices.Contains(g.Boot, "disk") && !given("disks"):
		wrong("boot", "it is to boot from a disk, and there is none", "give it disks, or remove disk from boot")
	case len(d.bad[fs.object]) == 0 && len(d.file.Resolve(g).Boot) == 0:
		wrong("", "nothing that it has is in the boot order of kind "+d.file.Resolve(g).Kind, "say boot: [cdrom] or boot: [disk]")
	}
}

// read sets what is there and leaves the rest as it is.
func read[T any](fs *fields, key string, v *T, parse func(string) (T, error)) {
	if _, ok := fs.values[key]; !ok {
		return
	}
	before := fs.d.count
	if got := parsed(fs, key, parse); fs.d.count == before {
		*v = got
	}
}

// oneOf reads one of the words; what is what they are called.
func oneOf(what string, words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		if meant := nearest.To(s, words); meant != "" {
			return "", fmt.Errorf("unknown %s %q; did you mean %q?", what, clip(s), meant)
		}
		return "", fmt.Errorf("unknown %s %q; use %s", what, clip(s), strings.Join(words, ", "))
	}
}

// between reads a number of that range.
func between(lowest, highest int) func(string) (int, error) {
	return func(s string) (int, error) {
		v, err := number(uint64(highest))(s)
		if err != nil || v < uint64(lowest) {
			return 0, fmt.Errorf("%q is outside %d to %d; choose a number in the range", clip(s), lowest, highest)
		}
		return int(v), nil
	}
}

// parseNICName reads a name that an interface of a guest may have. It also goes
// onto kernel command lines, so it is stricter than the kernel.
func parseNICName(s string) (string, error) {
	err := topo.CheckName(s)
	if err != nil || len(s) > maxNICName {
		return "", fmt.Errorf("%q cannot be the name of a NIC; use 1 to %d ASCII letters, digits, \"-\", \"_\" or \".\", starting with a letter or digit", clip(s), maxNICName)
	}
	return s, nil
}

func parsePath(s string) (string, error) {
	if s == "" || len(s) > maxPath || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("%q cannot be a path; use 1 to %d bytes of printable text", clip(s), maxPath)
	}
	return s, nil
}

func parseCmdline(s string) (string, error) {
	if s == "" || len(s) > maxCmdline || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%q cannot be a kernel command line; use 1 to %d printable ASCII characters", clip(s), maxCmdline)
	}
	return s, nil
}

// image is the image of a guest's drive, and where the file says so.
type image struct {
	guest   string
	at      position
	written bool // by the guest: a disk, and not a CD
}

func (i image) drive() string {
	if i.written {
		return "disk"
	}
	return "CD"
}

// images are the first drive of each image, by its path.
type images map[string]image

// claim notes the drive of an image, and finds out that a guest would write to the
// image of another's.
func (d *decoder) claim(path string, i image) {
	clean := filepath.Clean(d.file.Path(path))
	first, taken := d.images[clean]
	switch {
	case !taken:
		d.images[clean] = i
	case i.written || first.written:
		d.fail(i.at, fmt.Sprintf("%s %s of guest %s is already a %s of guest %s, in line %d, column %d: what one writes would destroy it for the other",
			i.drive(), clip(path), i.guest, first.drive(), first.guest, first.at.line, first.at.column), "give each a copy of its own")
	}
}

// uuidOwners are the guests' UUIDs, derived ones too.
type uuidOwners map[uuid.UUID]string
