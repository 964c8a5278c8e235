package main

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// labStatus is a lab as its machine sees it, and its ports as its controller does.
type labStatus struct {
	lab.Status
	Socket string     `json:"socket"`
	Ports  []api.Port `json:"ports,omitempty"`
}

func newLabStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether all of a lab is as it should be",
		Long: `Show a lab's controller, hosts, virtual machines and ports, as they are. Exit status 1
if something is not as it should be.`,
		Example: "  ofctl-lab lab status\n  ofctl-lab lab status --lab two-hosts -o json",
		Args:    args(0, 0, "no arguments; choose a lab with --lab"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, err := a.theLab()
			if err != nil {
				return err
			}
			s, err := a.labStatus(cmd.Context(), name)
			if err != nil {
				return err
			}
			if err := a.emit(s, func(t *tables, _ format) { printLabStatus(t, s) }); err != nil {
				return err
			}
			if !s.Ready() {
				return statusError{status: exitFailed}
			}
			return nil
		},
	}
	addOutputFlag(cmd)
	return cmd
}

func (a *app) labStatus(ctx context.Context, name string) (*labStatus, error) {
	m := a.labs()
	st, err := m.Status(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &labStatus{Status: st, Socket: labSocket(m, name)}
	if !st.Controller.Running {
		return s, nil
	}
	d, err := a.labDaemon(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	// Open vSwitch writes down whether it is connected only every five seconds;
	// the controller knows at once.
	var hosts []api.Host
	if s.Ports, err = d.Ports(ctx); err == nil {
		hosts, err = d.Hosts(ctx)
	}
	if err != nil {
		a.progress("warning: %v", err)
	}
	for i := range s.Hosts {
		for _, h := range hosts {
			if h.Name == s.Hosts[i].Name {
				s.Hosts[i].OVSDB, s.Hosts[i].OpenFlow = h.Status.OVSDB.Connected, h.Status.OpenFlow.Connected
			}
		}
	}
	return s, nil
}

// Ready reports whether all is as it should be, for the controller too.
func (s *labStatus) Ready() bool {
	if !s.Status.Ready() || !s.Controller.Running {
		return false
	}
	return len(notUp(s.Ports, s.attached())) == 0
}

func (s *labStatus) attached() map[string]bool {
	attached := map[string]bool{}
	for _, at := range s.Attachments {
		attached[at.Port] = true
	}
	return attached
}

func printLabStatus(t *tables, s *labStatus) {
	controller := "stopped; ofctl-lab lab up FILE starts it"
	if s.Controller.Running {
		controller = "process " + strconv.Itoa(s.Controller.PID) + " at " + s.Controller.Addr.String() + ", " + s.Socket
	}
	fields := []string{"Lab", s.Name, "Phase", string(s.Phase), "Underlay", join(s.Underlay.Subnets) + ", MTU " + strconv.Itoa(s.Underlay.MTU),
		"Management", s.Management.String(), "Controller", controller}
	if s.Accel != "" {
		fields = append(fields, "Accelerator", strings.TrimSuffix(string(s.Accel)+"; "+s.AccelNote, "; "))
	}
	t.fields(fields...)
	t.gap()
	rows := make([][]string, 0, len(s.Hosts))
	for _, h := range s.Hosts {
		rows = append(rows, []string{h.Name, h.TEP.String(), h.Management.String(), h.Datapath,
			running(h.OVSDBServer), running(h.VSwitchd), yesNo(h.Link), yesNo(h.OVSDB), yesNo(h.OpenFlow), h.Error})
	}
	t.table([]string{"HOST", "TEP", "MANAGEMENT", "DATAPATH", "OVSDB-SERVER", "VSWITCHD", "UNDERLAY", "OVSDB", "OPENFLOW", "ERROR"}, rows)
	t.gap()
	if len(s.Machines) > 0 {
		rows = rows[:0]
		for _, v := range s.Machines {
			pid := ""
			if v.PID > 0 {
				pid = strconv.Itoa(v.PID)
			}
			rows = append(rows, []string{v.Name, v.Host, v.Kind, string(v.Phase), pid, v.VNC, v.Why})
		}
		t.table([]string{"GUEST", "HOST", "KIND", "PHASE", "PROCESS", "VNC", "WHY"}, rows)
		t.gap()
	}
	states := map[string]api.PortStatus{}
	for _, p := range s.Ports {
		states[p.Name] = p.Status
	}
	rows = rows[:0]
	for _, at := range s.Attachments {
		st := states[at.Port]
		why := at.Error
		if why == "" {
			why = st.Message
		}
		rows = append(rows, []string{at.Port, at.Host, cmp.Or(at.Netns, at.Machine), at.Interface, yesNo(at.Plugged), ofport(uint32(at.OFPort)), string(st.State), why})
	}
	t.table([]string{"PORT", "HOST", "GUEST", "INTERFACE", "PLUGGED", "OFPORT", "STATE", "WHY"}, rows)
}

func running(b bool) string {
	if b {
		return "running"
	}
	return "stopped"
}
