package ovn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// answering is a server that gives one answer, or none and keeps the connection.
func answering(t *testing.T, answer string) database {
	t.Helper()
	d := database{name: "Test", socket: filepath.Join(t.TempDir(), "db.sock")}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		var request struct{ Method string }
		if err := json.NewDecoder(bufio.NewReader(conn)).Decode(&request); err != nil || request.Method != "transact" {
			t.Errorf("request %+v: %v", request, err)
		}
		if answer == "" {
			return
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(answer, `{"id"`) {
			conn.Close()
		}
	}()
	return d
}

// A server's refusal is an error that says whose and why; nothing is taken for done that was not.
func TestTransactErrors(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"refused":               {`{"id":0,"result":null,"error":"unknown database"}`, "OVSDB Test: transaction refused: unknown database"},
		"operation fails":       {`{"id":0,"error":null,"result":[{},{"error":"constraint violation","details":"name"}]}`, "operation 2: constraint violation: name"},
		"commit fails":          {`{"id":0,"error":null,"result":[{},{},{"error":"referential integrity violation"}]}`, "operation 3: referential integrity violation"},
		"first fails":           {`{"id":0,"error":null,"result":[{"error":"not owner"},null]}`, "operation 1: not owner"},
		"too few results":       {`{"id":0,"error":null,"result":[{}]}`, "1 results for 2 operations"},
		"what is waited for":    {`{"id":0,"error":null,"result":[{"error":"timed out"},null]}`, "timed out"},
		"no JSON":               {"\x00\x01", "invalid character"},
		"connection ends early": {" ", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := answering(t, c.answer).transact(t.Context(), operation{"op": "comment"}, operation{"op": "comment"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v, want %q", err, c.want)
			}
			if timedOut := c.want == "timed out"; errors.Is(err, errTimedOut) != timedOut {
				t.Errorf("error: %v; is errTimedOut: %v", err, !timedOut)
			}
		})
	}
}

// A server that never answers holds nobody whose context ends.
func TestTransactEndsWithItsContext(t *testing.T) {
	d := answering(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := d.transact(ctx, operation{"op": "comment"})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}
