package ovsdb

import (
	"encoding/json"
	"os"
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
	needOpenVSwitch(t)
	raw, err = os.ReadFile("/usr/share/openvswitch/vswitch.ovsschema")
	if err != nil {
		t.Fatal(err)
	}
	if err := usedSchema().check(raw); err != nil {
		t.Error(err)
	}
}
