package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/datapath/netdev"
	"github.com/ofctl-lab/ofctl-lab/datapath/qemu"
)

// Machine is a virtual machine of the lab: qemu in its host's namespace. Each of
// its NICs is a tap there, and a port of the integration bridge while it runs.
type Machine struct {
	guest.Machine
	Host string `json:"host"`
}

// machineKey is the name of the machine's supervisor among the lab's processes.
func machineKey(host, name string) string { return host + "/machine/" + name }

func (m *Manager) machineDir(lab, host, name string) string {
	return filepath.Join(m.hostDir(lab, host), "machines", name)
}

// check reports what is wrong with the machine by itself.
func (v Machine) check() error {
	errs := []error{qemu.Check(v.Machine)}
	if err := checkLabel(v.Name); err != nil {
		errs = append(errs, fmt.Errorf("guest name: %w", err))
	}
	switch v.Ready {
	case guest.ReadyAddress, guest.ReadyFrame, guest.ReadyLLDP:
	default:
		errs = append(errs, fmt.Errorf("guest %s: sign of readiness %q; use %s, %s or %s", v.Name, v.Ready, guest.ReadyAddress, guest.ReadyFrame, guest.ReadyLLDP))
	}
	for _, n := range v.NICs {
		if err := checkPortName(n.Port); err != nil {
			errs = append(errs, fmt.Errorf("guest %s: NIC %s: %w", v.Name, n.Name, err))
		}
		if err := netdev.CheckInterfaceName(n.Tap); err != nil {
			errs = append(errs, fmt.Errorf("guest %s: NIC %s: tap: %w", v.Name, n.Name, err))
		}
		if n.MTU != 0 && (n.MTU < 68 || n.MTU > 65521) {
			errs = append(errs, fmt.Errorf("guest %s: NIC %s: MTU %d; use 68 to 65521", v.Name, n.Name, n.MTU))
		}
	}
	return errors.Join(errs...)
}

// checkMachines reports what is wrong with the machines among the lab's hosts and
// attachments.
func (s Spec) checkMachines() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names, ports, taps := map[string]bool{}, map[string]string{}, map[string]string{}
	for _, a := range s.Attachments {
		ports[a.Port], taps[a.Device()] = "a namespace", a.Port
		if _, is := s.machine(a.netns()); is {
			bad("guest %s: a namespace has the same name, of port %s; rename one", a.netns(), a.Port)
		}
	}
	for _, v := range s.Machines {
		if names[v.Name] {
			bad("guest %s is there twice", v.Name)
		}
		names[v.Name] = true
		if _, ok := s.host(v.Host); !ok {
			bad("guest %s: there is no host %q", v.Name, v.Host)
		}
		if err := v.check(); err != nil {
			errs = append(errs, err)
		}
		for _, n := range v.NICs {
			if other, dup := ports[n.Port]; dup {
				bad("guest %s: NIC %s: port %s is also that of %s", v.Name, n.Name, n.Port, other)
			}
			// It may migrate, so that a name is taken on every host.
			if other, dup := taps[n.Tap]; dup {
				bad("guest %s: NIC %s: tap %s is also that of port %s", v.Name, n.Name, n.Tap, other)
			}
			ports[n.Port], taps[n.Tap] = v.Name, n.Port
		}
	}
	return errors.Join(errs...)
}

func (s Spec) machine(name string) (Machine, bool) {
	i := slices.IndexFunc(s.Machines, func(v Machine) bool { return v.Name == name })
	if i < 0 {
		return Machine{}, false
	}
	return s.Machines[i], true
}

// IsMachine reports whether the target is a virtual machine.
func (s Spec) IsMachine(t Target) bool {
	v, ok := s.machine(t.Netns)
	return ok && v.Host == t.Host
}

func (s Spec) machinesOf(host string) []Machine {
	var mine []Machine
	for _, v := range s.Machines {
		if v.Host == host {
			mine = append(mine, v)
		}
	}
	return mine
}

// machinePort is the machine whose NIC the port is.
func (s Spec) machinePort(port string) (Machine, bool) {
	for _, v := range s.Machines {
		if slices.ContainsFunc(v.NICs, func(n guest.NIC) bool { return n.Port == port }) {
			return v, true
		}
	}
	return Machine{}, false
}
