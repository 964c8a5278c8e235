package api

// TopologyBody is a topology to plan or apply: the text of a topology file
// (YAML; JSON is YAML) and the name under which its errors are reported.
type TopologyBody struct {
	Name string `json:"name,omitempty" maxLength:"4096" doc:"File name for error messages; topology.yaml when left out"`
	Text string `json:"text" doc:"Contents of the topology file"`
}

// Topology is the whole desired state in canonical form.
type Topology struct {
	Revision uint64 `json:"revision" doc:"Revision it belongs to"`
	Text     string `json:"text" doc:"Canonical topology file (YAML)"`
}

// Action is what happens to an object.
type Action string

// The actions of a plan.
const (
	ActionAdd    Action = "add"
	ActionChange Action = "change"
	ActionRemove Action = "remove"
)

// Change is one object that differs.
type Change struct {
	Action Action   `json:"action" enum:"add,change,remove" doc:"add, change or remove"`
	Kind   string   `json:"kind" enum:"host,tenant,network,port" doc:"Kind of object"`
	Name   string   `json:"name" doc:"Its name; tenant/network for a network"`
	Fields []string `json:"fields,omitempty" doc:"For a change: each as 'field: old → new'"`
}

// HostPlan is what a change means for one switch.
type HostPlan struct {
	Host          string   `json:"host" doc:"Name of the host"`
	Connected     bool     `json:"connected" doc:"False if the host is away: it is brought up to date when it returns"`
	FlowsAdded    int      `json:"flows_added" doc:"Flows added"`
	FlowsModified int      `json:"flows_modified" doc:"Flows whose actions change"`
	FlowsDeleted  int      `json:"flows_deleted" doc:"Flows deleted"`
	Groups        int      `json:"groups" doc:"Groups added, changed or deleted"`
	Meters        int      `json:"meters" doc:"Meters added, changed or deleted"`
	Interrupts    []string `json:"interrupts,omitempty" doc:"Ports on this host whose traffic the change interrupts, each with the reason"`
}

// Plan is what an apply would do, or has done.
type Plan struct {
	Revision    uint64     `json:"revision" doc:"Revision in which the result is; of a dry run, the revision it was computed against"`
	Changes     []Change   `json:"changes" doc:"Objects that differ"`
	Hosts       []HostPlan `json:"hosts" doc:"Switches that are touched"`
	Interrupted bool       `json:"interrupted" doc:"True if traffic of some port is interrupted"`
}

// Empty reports whether nothing differs.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// Wait is the answer to a wait: who has not confirmed the revision yet.
type Wait struct {
	Revision uint64        `json:"revision" doc:"Revision waited for"`
	Done     bool          `json:"done" doc:"True when every connected host has confirmed it"`
	Pending  []WaitPending `json:"pending" doc:"Hosts that have not confirmed it"`
	PortsUp  int           `json:"ports_up" doc:"Ports up at this moment"`
	Ports    int           `json:"ports" doc:"Ports declared"`
}

// WaitPending is a host that has not confirmed a revision.
type WaitPending struct {
	Host     string `json:"host" doc:"Name of the host"`
	Revision uint64 `json:"revision" doc:"Newest revision it has confirmed"`
	Reason   string `json:"reason" doc:"Why it has not"`
}
