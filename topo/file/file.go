package file

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// DefaultMTU is the underlay's MTU in bytes if the file does not say.
const DefaultMTU = 1500

// File is a topology file.
type File struct {
	// Name is the topology's name, by which several labs live side by side.
	Name     string
	Underlay Underlay
	// Topology is the intent, in the order of the file, as Txn.Replace takes it.
	// The NICs of Guests are among its ports, behind those of the section ports.
	Topology topo.Topology
	// Kinds are the file's own kinds of guest, beside BuiltinKinds.
	Kinds  []Kind
	Guests []Guest

	source    string
	positions positions
	nicAt     map[string]int // indexes in Topology.Ports, by port
}

// Underlay is the network between the hosts.
type Underlay struct {
	// Subnets hold the hosts' tunnel endpoints. None means that any address does.
	Subnets []netip.Prefix
	// MTU is that of the links between the hosts, in bytes.
	MTU int
}

// Parse reads a topology file; name is what errors call it. All mistakes are
// reported together, as *Error in file order, joined: those of the text, and
// those that Check finds on an empty overlay.
func Parse(name string, data []byte) (*File, error) {
	root, err := parseYAML(name, data)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: &File{source: name, positions: positions{}, nicAt: map[string]int{}, Underlay: Underlay{MTU: DefaultMTU}},
		bad: map[string][]string{}, guestUUIDs: uuidOwners{}, images: images{}}
	d.document(root)
	f := d.file
	list := d.errors
	_, _, problems := f.check(topo.Empty())
	for _, p := range problems {
		if !d.covers(p) {
			list = append(list, f.locate(p))
		}
	}
	if len(list) > 0 {
		return nil, joinErrors(list, d.count-len(d.errors))
	}
	return f, nil
}

// Check is what base becomes when f is the whole intent: the Snapshot, what changes, and
// as *Error in file order, joined, all that forbids it. A network must have room for
// its guests' packets in the underlay's MTU, and a host its tunnel endpoint
// in one of the underlay's subnets.
func Check(f *File, base *topo.Snapshot) (*topo.Snapshot, topo.Changes, error) {
	s, changes, problems := f.check(base)
	if len(problems) == 0 {
		return s, changes, nil
	}
	var list []*Error
	for _, p := range problems {
		list = append(list, f.locate(p))
	}
	return base, topo.Changes{}, joinErrors(list, 0)
}

func (f *File) check(base *topo.Snapshot) (*topo.Snapshot, topo.Changes, []*topo.Problem) {
	t := base.Begin()
	t.Replace(f.Topology)
	s, changes, err := t.Commit()
	problems := topo.Problems(err)
	if err == nil {
		problems = topo.Problems(s.CheckMTU(f.Underlay.MTU))
	}
	for _, h := range f.Topology.Hosts {
		if h.TEP.IsValid() && len(f.Underlay.Subnets) > 0 && !f.Underlay.holds(h.TEP) {
			problems = append(problems, &topo.Problem{Object: topo.KindHost + " " + h.Name, Field: "tep",
				What: "tunnel endpoint " + h.TEP.String() + " is in no subnet of the underlay",
				Hint: "choose an address inside, or correct the underlay's subnet"})
		}
	}
	return s, changes, slices.Concat(problems, f.sharedInterfaces(), f.strayNICs())
}

// sharedInterfaces are the ports that would be one and the same interface of one
// namespace, by the names that a lab gives where the file gives none.
func (f *File) sharedInterfaces() (problems []*topo.Problem) {
	type place struct{ host, netns, dev string }
	first := map[place]string{}
	for _, p := range f.Topology.Ports {
		at := place{p.Host, cmp.Or(p.Netns, p.Name), cmp.Or(p.Interface, "eth0")}
		if p.Host == "" || p.Guest != "" {
			continue // attached by somebody else, or nowhere, or by the guest
		}
		if other, taken := first[at]; taken {
			problems = append(problems, &topo.Problem{Object: topo.KindPort + " " + p.Name, Field: "netns", Other: topo.KindPort + " " + other,
				What: fmt.Sprintf("interface %s of namespace %s on host %s is port %s already", at.dev, at.netns, at.host, other),
				Hint: "give one of the two another interface or netns"})
			continue
		}
		first[at] = p.Name
	}
	return problems
}

func (u *Underlay) holds(a netip.Addr) bool {
	for _, p := range u.Subnets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
