package ovsctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Interface is what the database says of an interface.
type Interface struct {
	Name        string
	ExternalIDs map[string]string
	// OFPort is its OpenFlow number, 0 while ovs-vswitchd has not opened it.
	OFPort uint32
	// Error is why it has not.
	Error string
}

// Interfaces are those of all bridges that have an external_ids:key, by name.
func (c *Client) Interfaces(ctx context.Context, key string) ([]Interface, error) {
	out, err := c.run(ctx, "ovs-vsctl", "--db="+c.o.DB, "--format=json", "--columns=name,external_ids,ofport,error",
		"find", "Interface", "external_ids:"+atom(key)+`!=""`)
	if err != nil {
		return nil, err
	}
	var table struct {
		Data [][4]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(out, &table); err != nil {
		return nil, fmt.Errorf("ovs-vsctl printed what is no table of interfaces: %w", err)
	}
	found := make([]Interface, 0, len(table.Data))
	for _, row := range table.Data {
		i := Interface{ExternalIDs: map[string]string{}}
		var pairs [][2]string // of ["map",[[KEY,VALUE]…]]
		if err := errors.Join(json.Unmarshal(row[0], &i.Name), json.Unmarshal(row[1], &[2]any{new(string), &pairs})); err != nil {
			return nil, fmt.Errorf("ovs-vsctl printed what is no interface: %w", err)
		}
		for _, p := range pairs {
			i.ExternalIDs[p[0]] = p[1]
		}
		// An empty column is a set, ["set",[]]; a number below 1 is that of no port.
		var number int64
		if json.Unmarshal(row[2], &number) == nil && number > 0 {
			i.OFPort = uint32(number)
		}
		if json.Unmarshal(row[3], &i.Error) != nil {
			i.Error = ""
		}
		found = append(found, i)
	}
	slices.SortFunc(found, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// SetExternalID sets external_ids:key of an interface. When it returns nil the value
// is on the disk, and so is all that was written to the database before: it outlives
// a power cut, which what ovs-vsctl writes does only half a minute later.
func (c *Client) SetExternalID(ctx context.Context, iface, key, value string) error {
	if err := checkName("interface", iface); err != nil {
		return err
	}
	request, err := json.Marshal([]any{
		"Open_vSwitch",
		map[string]any{
			"op": "mutate", "table": "Interface", "where": []any{[]any{"name", "==", iface}},
			// A key that is there is not overwritten by an insertion.
			"mutations": []any{
				[]any{"external_ids", "delete", []any{"set", []any{key}}},
				[]any{"external_ids", "insert", []any{"map", []any{[]any{key, value}}}},
			},
		},
		map[string]any{"op": "commit", "durable": true},
	})
	if err != nil {
		return err
	}
	out, err := c.run(ctx, "ovsdb-client", "transact", c.o.DB, string(request))
	if err != nil {
		return err
	}
	// One result an operation, and one more if the commit fails (RFC 7047, section 4.1.3).
	var results []*struct {
		Count   int    `json:"count"`
		Error   string `json:"error"`
		Details string `json:"details"`
	}
	if err := json.Unmarshal(out, &results); err != nil || len(results) == 0 || results[0] == nil {
		return fmt.Errorf("set external_ids:%s of interface %s: ovsdb-server answered %.200q", key, iface, out)
	}
	for _, r := range results {
		if r != nil && r.Error != "" {
			return fmt.Errorf("set external_ids:%s of interface %s: %s: %s", key, iface, r.Error, r.Details)
		}
	}
	if results[0].Count != 1 {
		return fmt.Errorf("set external_ids:%s of interface %s: the database has no such interface", key, iface)
	}
	return nil
}
