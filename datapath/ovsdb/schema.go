package ovsdb

import (
	"encoding/json"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/model"
)

// database is the only database a session speaks of.
const database = "Open_vSwitch"

// The tables in use; names as in ovs-vswitchd.conf.db(5).
const (
	tableOpenVSwitch = "Open_vSwitch"
	tableBridge      = "Bridge"
	tablePort        = "Port"
	tableInterface   = "Interface"
	tableController  = "Controller"
)

// The rows, with the columns that are read or written and no others. Each
// column here is monitored, and each is in the schema given to the library:
// an update with a column it does not know would be dropped whole.
type (
	openVSwitchRow struct {
		UUID          string            `ovsdb:"_uuid"`
		Bridges       []string          `ovsdb:"bridges"`
		CurCfg        int               `ovsdb:"cur_cfg"`
		DatapathTypes []string          `ovsdb:"datapath_types"`
		ExternalIDs   map[string]string `ovsdb:"external_ids"`
		NextCfg       int               `ovsdb:"next_cfg"`
		OtherConfig   map[string]string `ovsdb:"other_config"`
		OVSVersion    *string           `ovsdb:"ovs_version"`
	}
	bridgeRow struct {
		UUID         string            `ovsdb:"_uuid"`
		Controller   []string          `ovsdb:"controller"`
		DatapathID   *string           `ovsdb:"datapath_id"`
		DatapathType string            `ovsdb:"datapath_type"`
		ExternalIDs  map[string]string `ovsdb:"external_ids"`
		FailMode     *string           `ovsdb:"fail_mode"`
		Name         string            `ovsdb:"name"`
		OtherConfig  map[string]string `ovsdb:"other_config"`
		Ports        []string          `ovsdb:"ports"`
		Protocols    []string          `ovsdb:"protocols"`
	}
	portRow struct {
		UUID       string   `ovsdb:"_uuid"`
		Interfaces []string `ovsdb:"interfaces"`
		Name       string   `ovsdb:"name"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		AdminState  *string           `ovsdb:"admin_state"`
		Error       *string           `ovsdb:"error"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		LinkState   *string           `ovsdb:"link_state"`
		MTU         *int              `ovsdb:"mtu"`
		Name        string            `ovsdb:"name"`
		OFPort      *int              `ovsdb:"ofport"`
		Options     map[string]string `ovsdb:"options"`
		Type        string            `ovsdb:"type"`
	}
	controllerRow struct {
		UUID            string            `ovsdb:"_uuid"`
		ConnectionMode  *string           `ovsdb:"connection_mode"`
		ExternalIDs     map[string]string `ovsdb:"external_ids"`
		InactivityProbe *int              `ovsdb:"inactivity_probe"`
		IsConnected     bool              `ovsdb:"is_connected"`
		MaxBackoff      *int              `ovsdb:"max_backoff"`
		Status          map[string]string `ovsdb:"status"`
		Target          string            `ovsdb:"target"`
	}
)

func databaseModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel(database, map[string]model.Model{
		tableOpenVSwitch: &openVSwitchRow{},
		tableBridge:      &bridgeRow{},
		tablePort:        &portRow{},
		tableInterface:   &interfaceRow{},
		tableController:  &controllerRow{},
	})
}

// columnKind is a column's type as far as this package tells types apart.
type columnKind struct {
	key   string // atomic type of the value, or of a map's keys
	value string // atomic type of a map's values; "" when it is not a map
	many  many
}

// many says how many values a column holds.
type many uint8

const (
	one      many = iota // exactly one
	optional             // none or one
	set                  // any number; a map always is
)

// schema is the part of the Open_vSwitch schema in use: table, column, kind.
type schema map[string]map[string]columnKind

// usedSchema declares what the row types need. A test holds the two together.
func usedSchema() schema {
	str, num, flag := columnKind{key: "string"}, columnKind{key: "integer"}, columnKind{key: "boolean"}
	optStr, optNum := columnKind{key: "string", many: optional}, columnKind{key: "integer", many: optional}
	strs, refs := columnKind{key: "string", many: set}, columnKind{key: "uuid", many: set}
	strMap := columnKind{key: "string", value: "string", many: set}
	return schema{
		tableOpenVSwitch: {
			"bridges": refs, "cur_cfg": num, "datapath_types": strs, "external_ids": strMap,
			"next_cfg": num, "other_config": strMap, "ovs_version": optStr,
		},
		tableBridge: {
			"controller": refs, "datapath_id": optStr, "datapath_type": str, "external_ids": strMap, "fail_mode": optStr,
			"name": str, "other_config": strMap, "ports": refs, "protocols": strs,
		},
		tablePort: {"interfaces": refs, "name": str},
		tableInterface: {
			"admin_state": optStr, "error": optStr, "external_ids": strMap, "link_state": optStr, "mtu": optNum,
			"name": str, "ofport": optNum, "options": strMap, "type": str,
		},
		tableController: {
			"connection_mode": optStr, "external_ids": strMap, "inactivity_probe": optNum, "is_connected": flag,
			"max_backoff": optNum, "status": strMap, "target": str,
		},
	}
}

// ephemeralColumns are the columns in use that ovsdb-server does not keep. After its
// restart they are empty until ovs-vswitchd has connected again and written them: empty
// means that a value is not known yet. Every other column is as it was before, so cur_cfg,
// ofport and error say what was true then, and not that ovs-vswitchd is there. A test holds
// the list to Open vSwitch's schema.
func ephemeralColumns() map[string][]string {
	return map[string][]string{
		tableBridge:     {"datapath_id"},
		tableInterface:  {"admin_state", "link_state", "mtu"},
		tableController: {"is_connected", "status"},
	}
}

// columns names the columns of a table.
func (s schema) columns(table string) []string {
	names := make([]string, 0, len(s[table]))
	for name := range s[table] {
		names = append(names, name)
	}
	return names
}

// MarshalJSON writes the schema as a <database-schema> (RFC 7047, 3.2), without
// enumerations, ranges and indexes: the switch holds those, and an index of the
// library's would refuse a row that replaces another of the same name.
func (s schema) MarshalJSON() ([]byte, error) {
	tables := map[string]any{}
	for table, columns := range s {
		cs := map[string]any{}
		for name, kind := range columns {
			cs[name] = map[string]any{"type": kind.wire()}
		}
		tables[table] = map[string]any{"columns": cs, "isRoot": table == tableOpenVSwitch}
	}
	return json.Marshal(map[string]any{"name": database, "version": "0.0.0", "tables": tables})
}

// wire is the kind as a <type>.
func (k columnKind) wire() any {
	if k.many == one {
		return k.key
	}
	t := map[string]any{"key": k.key, "min": 0, "max": 1}
	if k.many == set {
		t["max"] = "unlimited"
	}
	if k.value != "" {
		t["value"] = k.value
	}
	return t
}

// String is the kind in words, for errors.
func (k columnKind) String() string {
	switch {
	case k.value != "":
		return "map of " + k.key + " to " + k.value
	case k.many == set:
		return "set of " + k.key
	case k.many == optional:
		return "optional " + k.key
	default:
		return k.key
	}
}

// check says whether a host's schema has everything in s with the same kinds.
func (s schema) check(raw json.RawMessage) error {
	var theirs struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Tables  map[string]struct {
			Columns map[string]struct {
				Type json.RawMessage `json:"type"`
			} `json:"columns"`
		} `json:"tables"`
	}
	if err := json.Unmarshal(raw, &theirs); err != nil {
		return fmt.Errorf("the schema does not parse: %w", err)
	}
	if theirs.Name != database {
		return fmt.Errorf("the schema is of database %.64q, not %q", theirs.Name, database)
	}
	for table, columns := range s {
		for name, want := range columns {
			column, ok := theirs.Tables[table].Columns[name]
			if !ok {
				return fmt.Errorf("its schema (version %.32q) has no column %s in table %s; Open vSwitch 2.12 or newer is needed", theirs.Version, name, table)
			}
			have, err := parseKind(column.Type)
			if err != nil {
				return fmt.Errorf("its schema: table %s, column %s: %w", table, name, err)
			}
			if have != want {
				return fmt.Errorf("its schema (version %.32q): table %s, column %s is %s, not %s", theirs.Version, table, name, have, want)
			}
		}
	}
	return nil
}

// parseKind reads a <type> (RFC 7047, 3.2).
func parseKind(raw json.RawMessage) (columnKind, error) {
	var k columnKind
	if json.Unmarshal(raw, &k.key) == nil && k.key != "" {
		return k, nil
	}
	var t struct {
		Key   json.RawMessage `json:"key"`
		Value json.RawMessage `json:"value"`
		Min   *int            `json:"min"`
		Max   any             `json:"max"`
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return k, fmt.Errorf("its type does not parse: %w", err)
	}
	var err error
	if k.key, err = parseBaseType(t.Key); err != nil {
		return k, err
	}
	if t.Value != nil {
		if k.value, err = parseBaseType(t.Value); err != nil {
			return k, err
		}
	}
	least := 1
	if t.Min != nil {
		least = *t.Min
	}
	switch {
	case t.Max != nil && t.Max != float64(1), k.value != "":
		k.many = set
	case least == 0:
		k.many = optional
	}
	return k, nil
}

func parseBaseType(raw json.RawMessage) (string, error) {
	var name string
	if json.Unmarshal(raw, &name) == nil && name != "" {
		return name, nil
	}
	var base struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &base); err != nil || base.Type == "" {
		return "", fmt.Errorf("its base type does not parse")
	}
	return base.Type, nil
}
