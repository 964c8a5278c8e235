package api

// Flow is one flow entry read from a switch, with the names of what it was
// compiled for.
type Flow struct {
	Table     uint8  `json:"table" doc:"Table number"`
	TableName string `json:"table_name,omitempty" doc:"Table name"`
	Priority  uint16 `json:"priority" doc:"Priority"`
	Match     string `json:"match" doc:"Match as ovs-ofctl prints it, with the names of network, port and register; empty matches everything"`
	Actions   string `json:"actions" doc:"Actions as ovs-ofctl prints them, with the names of table, network, port, group and register"`
	Cookie    string `json:"cookie" doc:"Cookie, hexadecimal"`
	Feature   string `json:"feature,omitempty" doc:"Part of the pipeline, or reason of the drop"`
	Drop      bool   `json:"drop" doc:"True if the flow is a named drop"`
	Ours      bool   `json:"ours" doc:"False for a flow of somebody else, which is never touched"`
	OwnerKind string `json:"owner_kind,omitempty" enum:"host,tenant,network,port" doc:"Kind of the object the flow was compiled for"`
	Owner     string `json:"owner,omitempty" doc:"Name of that object"`
	Tenant    string `json:"tenant,omitempty" doc:"Tenant it belongs to, if to exactly one"`
	Network   string `json:"network,omitempty" doc:"Full name of the network it belongs to, if to exactly one"`
	Port      string `json:"port,omitempty" doc:"Port it was compiled for, if any"`
	Packets   uint64 `json:"packets" doc:"Packets matched"`
	Bytes     uint64 `json:"bytes" doc:"Bytes matched"`
	Duration  uint32 `json:"duration" doc:"Age in seconds"`
	Raw       string `json:"raw" doc:"The flow as ovs-ofctl prints it, without statistics; ovs-ofctl add-flows takes it back"`
}

// Group is one group entry read from a switch.
type Group struct {
	ID      uint32 `json:"id" doc:"Group number"`
	Network string `json:"network,omitempty" doc:"Full name of the network the group belongs to"`
	Ours    bool   `json:"ours" doc:"False for a group of somebody else"`
	Buckets int    `json:"buckets" doc:"Number of buckets"`
	Text    string `json:"text" doc:"The group as ovs-ofctl prints it, with the names of networks and ports"`
	Raw     string `json:"raw" doc:"The group as ovs-ofctl add-groups takes it"`
}

// FlowDump is what one switch holds, read from it for this answer.
type FlowDump struct {
	Host    string  `json:"host" doc:"Name of the host"`
	Flows   []Flow  `json:"flows" doc:"Flows, by table, priority (descending) and match"`
	Groups  []Group `json:"groups" doc:"Groups, ascending"`
	Foreign int     `json:"foreign" doc:"Flows of others in the switch"`
	// Ports are absent when nobody was there to tell.
	Ports []SwitchPort `json:"ports,omitempty" doc:"Ports of the switch, ascending, as far as they are known"`
}

// SwitchPort is a port of a switch.
type SwitchPort struct {
	Number   uint32  `json:"number" doc:"OpenFlow port number"`
	Name     string  `json:"name" doc:"Name of the interface"`
	Down     bool    `json:"down" doc:"True if the port has no link"`
	Sent     *uint64 `json:"sent,omitempty" doc:"Packets that left by the port; absent if not counted or not read"`
	Received *uint64 `json:"received,omitempty" doc:"Packets that came in by the port; absent if not counted or not read"`
}

// SendBody is a frame to be sent as if a port's guest had sent it.
type SendBody struct {
	Frame []byte `json:"frame" doc:"Ethernet frame without checksum, 14…65280 bytes, base64"`
}

// Sent says where a frame was put into a switch.
type Sent struct {
	Host   string `json:"host" doc:"Host on which the port is bound"`
	OFPort uint32 `json:"ofport" doc:"OpenFlow port number that the switch takes the frame to come from"`
}
