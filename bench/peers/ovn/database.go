package ovn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// database is an OVSDB of OVN, reached over its unix socket. Its methods may be called
// concurrently; each transaction has a connection of its own.
type database struct {
	name, socket string
}

// What a transaction consists of and how values are written: RFC 7047, sections 5.1 and 5.2.
type (
	operation map[string]any
	row       map[string]any
	ovsMap    map[string]string
	ovsSet    []any
	uuid      string // of a row
	namedUUID string // of a row that the same transaction inserts
)

// MarshalJSON writes a map.
func (m ovsMap) MarshalJSON() ([]byte, error) {
	pairs := [][2]string{}
	for k, v := range m {
		pairs = append(pairs, [2]string{k, v})
	}
	return json.Marshal([]any{"map", pairs})
}

// MarshalJSON writes a set.
func (s ovsSet) MarshalJSON() ([]byte, error) { return json.Marshal([]any{"set", []any(s)}) }

// MarshalJSON writes a reference.
func (u uuid) MarshalJSON() ([]byte, error) { return json.Marshal([]string{"uuid", string(u)}) }

// MarshalJSON writes a reference.
func (u namedUUID) MarshalJSON() ([]byte, error) {
	return json.Marshal([]string{"named-uuid", string(u)})
}

func insert(table string, r row) operation {
	return operation{"op": "insert", "table": table, "row": r}
}

// named gives the row that an operation inserts a name within its transaction.
func named(name string, op operation) operation {
	op["uuid-name"] = name
	return op
}

// condition is [column, function, value].
type condition [3]any

func mutate(table string, where []condition, column, mutator string, value any) operation {
	return operation{"op": "mutate", "table": table, "where": where, "mutations": [][3]any{{column, mutator, value}}}
}

// waitFor waits until the rows of a table that meet the condition have exactly these values in
// these columns; without rows, until none meets it. The server looks again when its data
// change, so that waiting costs nobody anything.
func waitFor(table string, where []condition, columns []string, rows ...row) operation {
	if rows == nil {
		rows = []row{}
	}
	return operation{"op": "wait", "timeout": settleTimeout.Milliseconds(), "table": table,
		"where": where, "columns": columns, "until": "==", "rows": rows}
}

// result is that of one operation; unused fields stay empty.
type result struct {
	UUID    [2]string         `json:"uuid"` // "uuid" and the one of the row inserted
	Rows    []json.RawMessage `json:"rows"`
	Error   string            `json:"error"`
	Details string            `json:"details"`
}

// errTimedOut says that what an operation waited for has not come.
var errTimedOut = errors.New("timed out")

// transact carries out the operations, all or none, and returns their results.
func (d database) transact(ctx context.Context, ops ...operation) ([]result, error) {
	results, err := d.exchange(ctx, ops)
	if err != nil {
		return nil, fmt.Errorf("OVSDB %s: %w", d.name, err)
	}
	return results, nil
}

func (d database) exchange(ctx context.Context, ops []operation) ([]result, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", d.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	params := []any{d.name}
	for _, op := range ops {
		params = append(params, op)
	}
	var reply struct {
		Result []*result `json:"result"`
		Error  any       `json:"error"`
	}
	// A server asks a client on a unix socket for no sign of life, so that the first
	// message is the answer.
	err = json.NewEncoder(conn).Encode(map[string]any{"method": "transact", "params": params, "id": 0})
	if err == nil {
		err = json.NewDecoder(conn).Decode(&reply)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("transaction refused: %v", reply.Error)
	}
	results := make([]result, len(reply.Result))
	for i, r := range reply.Result {
		if r == nil { // not carried out, since one before it has failed
			continue
		}
		if r.Error == errTimedOut.Error() {
			return nil, errTimedOut
		}
		if r.Error != "" {
			return nil, fmt.Errorf("operation %d: %s: %s", i+1, r.Error, r.Details)
		}
		results[i] = *r
	}
	// One result more than operations is an error of the whole, checked above.
	if len(results) != len(ops) {
		return nil, fmt.Errorf("%d results for %d operations", len(results), len(ops))
	}
	return results, nil
}

// awaitListening returns when the server accepts connections.
func (d database) awaitListening(ctx context.Context) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := net.Dial("unix", d.socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("OVSDB %s does not listen: %w", d.name, err)
		}
	}
}
