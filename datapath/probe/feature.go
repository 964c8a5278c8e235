package probe

import "slices"

// Datapath is a datapath type of Open vSwitch.
type Datapath string

// The datapath types.
const (
	Kernel    Datapath = "system"
	Userspace Datapath = "netdev"
)

// Need is how much depends on a feature.
type Need uint8

// The needs. Without a feature that is needed now the pipeline does not work; one that is needed by a service is for
// what is to come; and one that is known only tells how the datapath does its work.
const (
	Known Need = iota
	ForService
	Now
)

// Feature is something that a datapath does or does not.
type Feature struct {
	// Name identifies the feature in reports; it never changes.
	Name string
	// Title says what it is, and For what needs it.
	Title, For string
	Need       Need
	// question is how the switch is asked; without one it is only tried.
	question question
	// trial is how it is tried; without one it is only asked for.
	trial trial
	// fix says what to do where it is missing, by datapath.
	fix map[Datapath]string
}

// Fix says what helps where the feature is missing.
func (f Feature) Fix(dp Datapath) string { return f.fix[dp] }

// Asked says how the switch is asked; empty if it is not.
func (f Feature) Asked() string { return f.question.String() }

// Tried says whether there is a trial.
func (f Feature) Tried() bool { return f.trial.run != nil }

// What helps is an upgrade in most cases, of the kernel or of Open vSwitch.
func newer(kernel, openVSwitch string) map[Datapath]string {
	return map[Datapath]string{
		Kernel:    "run Linux " + kernel + " or newer\nuname -r   shows the one that runs",
		Userspace: "run Open vSwitch " + openVSwitch + " or newer\novs-appctl version   shows the one that runs",
	}
}

func module(name, kernel, openVSwitch string) map[Datapath]string {
	fix := newer(kernel, openVSwitch)
	fix[Kernel] = "modprobe " + name + "\nor " + fix[Kernel]
	return fix
}

// Features are all features, in the order in which they are shown. The slice is the caller's.
func Features() []Feature {
	return slices.Concat(pipelineFeatures(), tunnelFeatures(), trackingFeatures(), meterFeatures(), groupFeatures(), cacheFeatures())
}
