package ovsdb

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/google/uuid"
)

// message is any JSON-RPC 1.0 message (RFC 7047, 4): a request has a method and
// an id, a notification a method, a response an id.
type message struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// request and response are what the gate writes.
type (
	request struct {
		Method string `json:"method"`
		Params any    `json:"params"`
		ID     any    `json:"id"`
	}
	response struct {
		ID     json.RawMessage `json:"id"`
		Result any             `json:"result"`
		Error  any             `json:"error"`
	}
)

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// maxErrorText is how much of a host's own error text is kept.
const maxErrorText = 1024

// errorText is the error of a response as text; a host may send a string or an
// object with "error" and "details".
func errorText(raw json.RawMessage) string {
	var text string
	var object struct{ Error, Details string }
	switch {
	case json.Unmarshal(raw, &text) == nil && text != "":
	case json.Unmarshal(raw, &object) == nil && object.Error != "":
		text = object.Error
		if object.Details != "" {
			text += ": " + object.Details
		}
	default:
		text = "error of unknown form"
	}
	return clip(text)
}

func clip(text string) string {
	if len(text) > maxErrorText {
		return text[:maxErrorText] + "…"
	}
	return text
}

// rowUpdate2 is a <row-update2> (ovsdb-server(7), 4.1.14).
type rowUpdate2 struct {
	Initial map[string]any `json:"initial,omitempty"`
	Insert  map[string]any `json:"insert,omitempty"`
	Modify  map[string]any `json:"modify,omitempty"`
}

// tableUpdates2 checks <table-updates2> and writes them anew: only tables and
// columns of s, every value of its column's kind, every row id a UUID.
func (s schema) tableUpdates2(raw json.RawMessage) (any, error) {
	var updates map[string]map[string]*rowUpdate2
	if err := json.Unmarshal(raw, &updates); err != nil {
		return nil, fmt.Errorf("table updates do not parse: %w", err)
	}
	out := make(map[string]map[string]any, len(updates))
	for table, rows := range updates {
		columns, ok := s[table]
		if !ok {
			return nil, fmt.Errorf("an update of table %.64q, which is not monitored", table)
		}
		outRows := make(map[string]any, len(rows))
		for id, row := range rows {
			if !canonicalUUID(id) {
				return nil, fmt.Errorf("table %s: row id %.64q is not a UUID", table, id)
			}
			update, err := checkRowUpdate2(columns, row)
			if err != nil {
				return nil, fmt.Errorf("table %s, row %s: %w", table, id, err)
			}
			outRows[id] = update
		}
		out[table] = outRows
	}
	return out, nil
}

func checkRowUpdate2(columns map[string]columnKind, row *rowUpdate2) (map[string]any, error) {
	if row == nil {
		return nil, fmt.Errorf("an update without content")
	}
	kind, content := "", map[string]any(nil)
	for _, c := range []struct {
		name string
		row  map[string]any
	}{{"initial", row.Initial}, {"insert", row.Insert}, {"modify", row.Modify}} {
		if c.row == nil {
			continue
		}
		if kind != "" {
			return nil, fmt.Errorf("an update that is both %s and %s", kind, c.name)
		}
		kind, content = c.name, c.row
	}
	if kind == "" {
		// A deletion is "delete": null, and null looks like absence once decoded:
		// an update that is nothing else is a deletion.
		return map[string]any{"delete": nil}, nil
	}
	out := make(map[string]any, len(content))
	for name, value := range content {
		column, ok := columns[name]
		if !ok {
			return nil, fmt.Errorf("column %.64q, which is not monitored", name)
		}
		checked, err := column.check(value)
		if err != nil {
			return nil, fmt.Errorf("column %s is not %s: %w", name, column, err)
		}
		out[name] = checked
	}
	return map[string]any{kind: out}, nil
}

// check says whether a decoded <value> is of the kind, and gives it in the one
// form in which it is handed on: an atom, ["set", […]] or ["map", […]].
func (k columnKind) check(value any) (any, error) {
	if k.value != "" {
		return k.checkMap(value)
	}
	if k.many == one {
		return checkAtom(k.key, value)
	}
	elements := []any{value}
	if tag, inner, ok := tagged(value); ok && tag == "set" {
		elements = inner
	}
	if k.many == optional && len(elements) > 1 {
		return nil, fmt.Errorf("%d values", len(elements))
	}
	atoms := make([]any, len(elements))
	for i, e := range elements {
		atom, err := checkAtom(k.key, e)
		if err != nil {
			return nil, err
		}
		atoms[i] = atom
	}
	return []any{"set", atoms}, nil
}

func (k columnKind) checkMap(value any) (any, error) {
	tag, pairs, ok := tagged(value)
	if !ok || tag != "map" {
		return nil, fmt.Errorf("no map")
	}
	out := make([]any, len(pairs))
	for i, p := range pairs {
		pair, ok := p.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("an entry that is no pair")
		}
		key, err := checkAtom(k.key, pair[0])
		if err != nil {
			return nil, err
		}
		val, err := checkAtom(k.value, pair[1])
		if err != nil {
			return nil, err
		}
		out[i] = []any{key, val}
	}
	return []any{"map", out}, nil
}

// tagged takes ["tag", [ … ]] apart.
func tagged(value any) (tag string, inner []any, ok bool) {
	list, ok := value.([]any)
	if !ok || len(list) != 2 {
		return "", nil, false
	}
	tag, ok = list[0].(string)
	if !ok {
		return "", nil, false
	}
	inner, ok = list[1].([]any)
	return tag, inner, ok
}

// maxExact is the largest integer that survives the float64 of decoded JSON.
const maxExact = 1 << 53

func checkAtom(atomic string, value any) (any, error) {
	switch atomic {
	case "string":
		if s, ok := value.(string); ok {
			return s, nil
		}
	case "boolean":
		if b, ok := value.(bool); ok {
			return b, nil
		}
	case "integer":
		if f, ok := value.(float64); ok && f == math.Trunc(f) && math.Abs(f) <= maxExact {
			return int64(f), nil
		}
	case "uuid":
		if list, ok := value.([]any); ok && len(list) == 2 && list[0] == "uuid" {
			if id, ok := list[1].(string); ok && canonicalUUID(id) {
				return []any{"uuid", id}, nil
			}
		}
	}
	return nil, fmt.Errorf("a value that is no %s", atomic)
}

// canonicalUUID says whether id is a UUID in the only form OVSDB uses.
func canonicalUUID(id string) bool {
	u, err := uuid.Parse(id)
	return err == nil && u.String() == id
}

// transactResult checks the result of transact (RFC 7047, 4.1.3) and writes it
// anew. Rows are read back only of Open_vSwitch.
func (s schema) transactResult(raw json.RawMessage) (any, error) {
	var results []*struct {
		Count   *int64
		UUID    any
		Error   *string
		Details *string
		Rows    []map[string]any
	}
	if err := json.Unmarshal(raw, &results); err != nil {
		return nil, fmt.Errorf("the result of a transaction does not parse: %w", err)
	}
	out := make([]any, len(results))
	for i, r := range results {
		if r == nil {
			continue // an operation after one that failed
		}
		o := map[string]any{}
		if r.Count != nil {
			o["count"] = *r.Count
		}
		if r.UUID != nil {
			id, err := checkAtom("uuid", r.UUID)
			if err != nil {
				return nil, fmt.Errorf("the result of operation %d: %w", i, err)
			}
			o["uuid"] = id
		}
		if r.Error != nil {
			o["error"] = clip(*r.Error)
		}
		if r.Details != nil {
			o["details"] = clip(*r.Details)
		}
		if r.Rows != nil {
			rows := make([]any, len(r.Rows))
			for j, row := range r.Rows {
				checked, err := checkRowUpdate2(s[tableOpenVSwitch], &rowUpdate2{Initial: row})
				if err != nil {
					return nil, fmt.Errorf("the result of operation %d: %w", i, err)
				}
				rows[j] = checked["initial"]
			}
			o["rows"] = rows
		}
		out[i] = o
	}
	return out, nil
}
