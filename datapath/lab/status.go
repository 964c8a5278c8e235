package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// Status is a lab as it is.
type Status struct {
	Name        string             `json:"name"`
	Phase       Phase              `json:"phase"`
	Underlay    Underlay           `json:"underlay"`
	Management  netip.Prefix       `json:"management"`
	Controller  ControllerStatus   `json:"controller"`
	Hosts       []HostStatus       `json:"hosts"`
	Attachments []AttachmentStatus `json:"attachments"`
	// Accel is what machines run on, and AccelNote why if there is more to say.
	Accel     qemu.Accel      `json:"accel,omitempty"`
	AccelNote string          `json:"accelNote,omitempty"`
	Machines  []MachineStatus `json:"machines,omitempty"`
}

// MachineStatus is a machine as it is.
type MachineStatus struct {
	Name  string       `json:"name"`
	Host  string       `json:"host"`
	Kind  string       `json:"kind"`
	Phase MachinePhase `json:"phase"`
	// PID is qemu's; 0 if it does not run.
	PID int `json:"pid,omitempty"`
	// VNC is where its screen is, in its host's namespace.
	VNC string `json:"vnc,omitempty"`
	// Console is the file with what its serial console has said.
	Console string `json:"console"`
	// Plugged and Ready are when its ports were, and when it was ready since it was
	// last switched on or reset.
	Plugged time.Time `json:"plugged,omitzero"`
	Ready   time.Time `json:"ready,omitzero"`
	// Why is how far it is, or why it has stopped or failed.
	Why string `json:"why,omitempty"`
}

// ControllerStatus is the lab's controller as it is.
type ControllerStatus struct {
	Addr    netip.Addr `json:"addr"`
	PID     int        `json:"pid,omitempty"`
	Running bool       `json:"running"`
}

// HostStatus is a host as it is.
type HostStatus struct {
	Name              string     `json:"name"`
	Namespace         string     `json:"namespace"`
	TEP               netip.Addr `json:"tep"`
	Management        netip.Addr `json:"management"`
	Datapath          string     `json:"datapath"`
	OVSDBServer       bool       `json:"ovsdbServer"`       // runs
	VSwitchd          bool       `json:"vswitchd"`          // runs
	Link              bool       `json:"link"`              // is connected to the underlay
	IntegrationBridge bool       `json:"integrationBridge"` // exists
	OVSDB             bool       `json:"ovsdb"`             // is connected to its manager
	OpenFlow          bool       `json:"openflow"`          // is connected to its controller
	// Error is why something is not known.
	Error string `json:"error,omitempty"`
}

// AttachmentStatus is an attachment, or a machine's NIC, as it is.
type AttachmentStatus struct {
	Port string `json:"port"`
	Host string `json:"host"`
	// Netns is the namespace, or Machine the virtual machine, that has the interface.
	Netns     string `json:"netns,omitempty"`
	Machine   string `json:"machine,omitempty"`
	Interface string `json:"interface"`
	Device    string `json:"device"`
	// Plugged says that br-int has the port, with this iface-id.
	Plugged bool `json:"plugged"`
	// OFPort is its OpenFlow number; 0 if it has none.
	OFPort int `json:"ofport,omitempty"`
	// Error is what Open vSwitch says is wrong with the port.
	Error string `json:"error,omitempty"`
}

// Ready reports whether all is as it should be.
func (s Status) Ready() bool {
	return s.Phase == PhaseUp &&
		!slices.ContainsFunc(s.Hosts, func(h HostStatus) bool {
			return !h.OVSDBServer || !h.VSwitchd || !h.Link || !h.IntegrationBridge || h.Error != ""
		}) &&
		!slices.ContainsFunc(s.Attachments, func(a AttachmentStatus) bool { return !a.Plugged || a.OFPort <= 0 }) &&
		!slices.ContainsFunc(s.Machines, func(v MachineStatus) bool { return v.Phase != MachineReady })
}

// Status looks at the lab. It needs no lock: while another command works on the
// lab it shows what is there so far.
func (m *Manager) Status(ctx context.Context, name string) (Status, error) {
	st, err := m.load(name)
	if err != nil {
		return Status{}, err
	}
	l := &instance{m: m, name: name, st: st}
	s := Status{Name: name, Phase: st.Phase, Underlay: st.Spec.Underlay, Management: st.Management}
	p := st.Processes[controllerKey]
	s.Controller = ControllerStatus{Addr: l.controllerAddr(), PID: p.PID, Running: p.alive()}

	s.Hosts = make([]HostStatus, len(st.Spec.Hosts))
	ports := make([]map[string]ovsInterface, len(st.Spec.Hosts))
	group, gctx := errgroup.WithContext(ctx)
	for i, h := range st.Spec.Hosts {
		group.Go(func() error {
			s.Hosts[i], ports[i] = l.hostStatus(gctx, h)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Status{}, err
	}
	if err := ctx.Err(); err != nil {
		return Status{}, fmt.Errorf("lab %s: status: %w", name, err)
	}
	portOf := func(as AttachmentStatus) AttachmentStatus {
		i := slices.IndexFunc(st.Spec.Hosts, func(h Host) bool { return h.Name == as.Host })
		if p, ok := ports[i][as.Device]; ok {
			as.Plugged, as.OFPort, as.Error = p.ifaceID == as.Port, max(p.ofport, 0), p.err
		}
		return as
	}
	for _, a := range st.Spec.Attachments {
		s.Attachments = append(s.Attachments, portOf(AttachmentStatus{
			Port: a.Port, Host: a.Host, Netns: a.netns(), Interface: a.guestInterface(), Device: a.Device()}))
	}
	s.Accel, s.AccelNote = st.Accel.Name, st.Accel.Note
	for _, v := range st.Spec.Machines {
		v = l.current(v)
		s.Machines = append(s.Machines, l.machineStatus(v))
		for _, n := range v.NICs {
			s.Attachments = append(s.Attachments, portOf(AttachmentStatus{
				Port: n.Port, Host: v.Host, Machine: v.Name, Interface: n.Name, Device: n.Tap}))
		}
	}
	return s, nil
}

func (l *instance) machineStatus(v Machine) MachineStatus {
	dir := l.m.machineDir(l.name, v.Host, v.Name)
	ms := MachineStatus{Name: v.Name, Host: v.Host, Kind: v.Kind, Phase: MachineStopped, Console: filepath.Join(dir, qemu.ConsoleLog)}
	s, err := readMachineState(dir)
	switch {
	case err != nil:
		ms.Phase, ms.Why = MachineFailed, err.Error()
	case s.Phase == "":
		ms.Why = "`lab start` starts it"
	case s.ended():
		ms.Phase, ms.Why = s.Phase, s.Why
	case !s.Supervisor.alive():
		ms.Phase, ms.Why = MachineFailed, "its supervisor was killed; `lab start` starts it again"
	default:
		ms.Phase, ms.PID, ms.VNC, ms.Plugged, ms.Ready = s.Phase, s.QEMU.PID, s.VNC, s.Plugged, s.Ready
		ms.Why = s.progress(v).Step
	}
	return ms
}

func (l *instance) hostStatus(ctx context.Context, h Host) (HostStatus, map[string]ovsInterface) {
	st := &l.st
	s := HostStatus{
		Name: h.Name, Namespace: hostNamespace(l.name, h.Name), TEP: h.TEP,
		Management: st.Addresses[h.Name], Datapath: st.Datapaths[h.Name],
		OVSDBServer: st.Processes[h.Name+"/ovsdb-server"].alive(),
		VSwitchd:    st.Processes[h.Name+"/ovs-vswitchd"].alive(),
	}
	ns, err := netdev.OpenNamespace(s.Namespace)
	if err != nil {
		s.Error = err.Error()
		return s, nil
	}
	defer ns.Close()
	if link, err := ns.Link(uplinkDevice); err == nil {
		s.Link = link.Up && link.Carrier
	}
	if !s.OVSDBServer {
		s.Error = "ovsdb-server does not run; `lab up` starts it"
		return s, nil
	}
	sw := l.switchOf(h.Name, ns)
	ports, err := sw.interfaces(ctx)
	if err != nil {
		s.Error = err.Error()
		return s, nil
	}
	_, s.IntegrationBridge = ports[IntegrationBridge]
	for table, connected := range map[string]*bool{"manager": &s.OVSDB, "controller": &s.OpenFlow} {
		out, err := sw.vsctl(ctx, "--bare", "--columns=is_connected", "list", table)
		if err != nil {
			s.Error = err.Error()
			return s, ports
		}
		*connected = strings.Contains(out, "true")
	}
	return s, ports
}

// ovsInterface is a row of the Interface table.
type ovsInterface struct {
	ofport       int
	ifaceID, err string
}

// interfaces are the interfaces of the switch by name.
func (o ovs) interfaces(ctx context.Context) (map[string]ovsInterface, error) {
	out, err := o.vsctl(ctx, "--format=json", "--columns=name,ofport,external_ids,error", "list", "interface")
	if err != nil {
		return nil, err
	}
	var table struct {
		Data [][4]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("ovs-vsctl list interface: %w", err)
	}
	found := map[string]ovsInterface{}
	for _, row := range table.Data {
		var (
			name string
			i    ovsInterface
			ids  [2]any // ["map", [[key, value], …]], RFC 7047 section 5.1
		)
		if err := json.Unmarshal(row[0], &name); err != nil {
			return nil, fmt.Errorf("ovs-vsctl list interface: name: %w", err)
		}
		// An optional column is its value, or the empty set, which is no number and
		// no string: zero then.
		_ = json.Unmarshal(row[1], &i.ofport)
		_ = json.Unmarshal(row[3], &i.err)
		if err := json.Unmarshal(row[2], &ids); err != nil {
			return nil, fmt.Errorf("ovs-vsctl list interface: external_ids of %s: %w", name, err)
		}
		pairs, _ := ids[1].([]any)
		for _, pair := range pairs {
			if kv, ok := pair.([]any); ok && len(kv) == 2 && kv[0] == "iface-id" {
				i.ifaceID, _ = kv[1].(string)
			}
		}
		found[name] = i
	}
	return found, nil
}
