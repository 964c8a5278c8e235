package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// peer is the other side of a session: it says what answer makes of each command.
func peer(t testing.TB, greeting string, answer func(command string, id uint64) string) net.Conn {
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		if _, err := fmt.Fprint(theirs, greeting); err != nil {
			return
		}
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var r struct {
				Execute string
				ID      uint64
			}
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Error(err)
				return
			}
			if _, err := fmt.Fprint(theirs, answer(r.Execute, r.ID)); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close(); <-ended })
	return ours
}

const greeting = `{"QMP": {"version": {}, "capabilities": ["oob"]}}` + "\r\n"

func TestQMP(t *testing.T) {
	ctx := testCtx(t)
	conn := peer(t, greeting, func(command string, id uint64) string {
		switch command {
		case "query-status":
			// Replies of nobody, an event, an empty line, and then the reply.
			return fmt.Sprintf("{\"return\":{}}\n{\"return\":{},\"id\":99}\n\n{\"event\":\"RESUME\",\"data\":{\"a\":1}}\r\n{\"return\":{\"status\":\"running\"},\"id\":%d}\n", id)
		case "nonsense":
			return fmt.Sprintf(`{"error":{"class":"CommandNotFound","desc":"no such\u0007 command"},"id":%d}`+"\n", id)
		case "silent":
			return ""
		case "flood":
			return strings.Repeat("{\"event\":\"X\"}\n", 2*maxEvents) + fmt.Sprintf("{\"return\":7,\"id\":%d}\n", id)
		}
		return fmt.Sprintf("{\"return\":{},\"id\":%d}\n", id)
	})
	q, err := NewQMP(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Status string }
	if err := q.Execute(ctx, "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("%+v, %v", status, err)
	}
	if e := <-q.Events(); e.Name != "RESUME" || string(e.Data) != `{"a":1}` {
		t.Errorf("event %+v", e)
	}
	var refused *Error
	if err := q.Execute(ctx, "nonsense", nil, nil); !errors.As(err, &refused) || refused.Desc != "no such  command" {
		t.Errorf("refused: %v", err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := q.Execute(short, "silent", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("silent: %v", err)
	}
}

// Events that nobody reads hold nothing up.
func TestQMPEventsAreBounded(t *testing.T) {
	ctx := testCtx(t)
	q, err := NewQMP(ctx, peer(t, greeting, func(command string, id uint64) string {
		return strings.Repeat("{\"event\":\"X\"}\n", 2*maxEvents) + fmt.Sprintf("{\"return\":{},\"id\":%d}\n", id)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Execute(ctx, "flood", nil, nil); err != nil {
		t.Error(err)
	}
	q.Close()
	n := 0
	for range q.Events() {
		n++
	}
	if n != maxEvents {
		t.Errorf("%d events kept, want %d", n, maxEvents)
	}
	if err := q.Execute(ctx, "after the end", nil, nil); err == nil {
		t.Error("a session that is closed")
	}
}

func TestQMPHostile(t *testing.T) {
	for _, c := range []struct{ greeting, want string }{
		{"", "EOF"},
		{"SSH-2.0\r\n", "cannot be read"},
		{"{}\n", "does not speak QMP"},
		{strings.Repeat("x", maxMessage+1), "more than"},
	} {
		ours, theirs := net.Pipe()
		go func() { fmt.Fprint(theirs, c.greeting); theirs.Close() }()
		if _, err := NewQMP(testCtx(t), ours); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v", c.greeting, err)
		}
	}
	for _, c := range []struct{ reply, want string }{
		{"what?\n", "cannot be read"},
		{"[1]\n", "cannot be read"},
		{`{"return":"` + strings.Repeat("x", maxMessage) + "\n", "more than"},
		{`{"error":{"class":1},"id":1}` + "\n", "cannot be read"},
	} {
		_, err := NewQMP(testCtx(t), peer(t, greeting, func(string, uint64) string { return c.reply }))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v", c.reply, err)
		}
	}
	// One that says nothing holds nobody longer than its context.
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := NewQMP(ctx, ours); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
}

func FuzzQMP(f *testing.F) {
	f.Add([]byte(greeting + `{"return":{},"id":1}` + "\n"))
	f.Add([]byte(greeting + `{"return":{},"id":1}` + "\n" + `{"event":"SHUTDOWN","data":{"guest":true}}` + "\n"))
	f.Add([]byte(greeting + `{"error":{"class":"GenericError","desc":"no"},"id":1}` + "\n"))
	f.Add([]byte(greeting + `{"error":null,"id":-1}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			go func() { // what we say has to go somewhere
				for b := make([]byte, 256); ; {
					if _, err := theirs.Read(b); err != nil {
						return
					}
				}
			}()
			theirs.Write(said)
		}()
		q, err := NewQMP(testCtx(t), ours)
		if err != nil {
			return
		}
		var result struct{ Status string }
		_ = q.Execute(testCtx(t), "query-status", nil, &result)
		q.Close()
	})
}
