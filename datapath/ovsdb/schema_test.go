package ovsdb

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// The row types, the schema declared and Open vSwitch's own agree.
func TestSchema(t *testing.T) {
	raw, err := json.Marshal(usedSchema())
	if err != nil {
		t.Fatal(err)
	}
	if err := usedSchema().check(raw); err != nil {
		t.Errorf("the schema does not have itself: %v", err)
	}
	var parsed ovsdb.DatabaseSchema
	if err := json.Unmarshal(raw, &parsed); err != nil {
		t.Fatal(err)
	}
	m, err := databaseModel()
	if err != nil {
		t.Fatal(err)
	}
	db, errs := model.NewDatabaseModel(parsed, m)
	for _, err := range errs {
		t.Error(err)
	}
	for table, columns := range usedSchema() {
		row, err := db.NewModel(table)
		if err != nil {
			t.Fatal(err)
		}
		info, err := db.NewModelInfo(row)
		if err != nil {
			t.Fatal(err)
		}
		for column := range columns {
			if _, err := info.FieldByColumn(column); err != nil {
				t.Errorf("table %s: no field for column %s", table, column)
			}
		}
	}
	if err := usedSchema().check(theirSchema(t)); err != nil {
		t.Error(err)
	}
}

func theirSchema(t *testing.T) []byte {
	t.Helper()
	needOpenVSwitch(t)
	raw, err := os.ReadFile("/usr/share/openvswitch/vswitch.ovsschema")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What is taken to be forgotten with ovsdb-server is just what Open vSwitch's schema says.
func TestEphemeralColumns(t *testing.T) {
	var theirs struct {
		Tables map[string]struct {
			Columns map[string]struct {
				Ephemeral bool `json:"ephemeral"`
			} `json:"columns"`
		} `json:"tables"`
	}
	if err := json.Unmarshal(theirSchema(t), &theirs); err != nil {
		t.Fatal(err)
	}
	for table, columns := range usedSchema() {
		for column := range columns {
			ours := slices.Contains(ephemeralColumns()[table], column)
			if is := theirs.Tables[table].Columns[column].Ephemeral; is != ours {
				t.Errorf("table %s, column %s: ephemeral %v, taken for %v", table, column, is, ours)
			}
		}
	}
	for table, columns := range ephemeralColumns() {
		for _, column := range columns {
			if _, used := usedSchema()[table][column]; !used {
				t.Errorf("table %s, column %s is not in use", table, column)
			}
		}
	}
}
