package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// fakeAgent is a guest agent: leftover is what an earlier client has not read.
func fakeAgent(t testing.TB, leftover string, answer func(command string, arguments json.RawMessage) string) net.Conn {
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		for lines := bufio.NewScanner(theirs); lines.Scan(); {
			var r struct {
				Execute   string
				Arguments json.RawMessage
			}
			if err := json.Unmarshal(bytes.TrimLeft(lines.Bytes(), "\xff"), &r); err != nil {
				t.Error(err)
				return
			}
			say := ""
			if r.Execute == "guest-sync-delimited" {
				var sync struct{ ID int64 }
				_ = json.Unmarshal(r.Arguments, &sync)
				say = leftover + fmt.Sprintf("\xff{\"return\": %d}\n", sync.ID)
			} else {
				say = answer(r.Execute, r.Arguments)
			}
			if _, err := fmt.Fprint(theirs, say); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close(); <-ended })
	return ours
}

func TestAgentExec(t *testing.T) {
	ctx := testCtx(t)
	out, polls := base64.StdEncoding.EncodeToString([]byte("hello\n")), 0
	var got execArguments
	conn := fakeAgent(t, "{\"return\": 1}\n\xff{\"return\": 2}\n", func(command string, arguments json.RawMessage) string {
		switch command {
		case "guest-exec":
			if err := json.Unmarshal(arguments, &got); err != nil {
				t.Error(err)
			}
			if got.Path == "missing" {
				return `{"error":{"class":"GenericError","desc":"Failed to execute child process"}}` + "\n"
			}
			return `{"return":{"pid":7}}` + "\n"
		case "guest-exec-status":
			if polls++; polls < 3 {
				return `{"return":{"exited":false}}` + "\n"
			}
			return fmt.Sprintf(`{"return":{"exited":true,"exitcode":3,"out-data":%q,"out-truncated":%t}}`+"\n", out, got.Path == "long")
		}
		return "{\"error\":{\"desc\":\"what\"}}\n"
	})
	a, err := NewAgent(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var stdout strings.Builder
	code, err := a.Exec(ctx, GuestCommand{Argv: []string{"sh", "-c", "x"}, Stdin: strings.NewReader("in"), Stdout: &stdout})
	if err != nil || code != 3 || stdout.String() != "hello\n" {
		t.Errorf("%d %q %v", code, stdout.String(), err)
	}
	if got.Path != "sh" || len(got.Arg) != 2 || string(got.Input) != "in" || !got.Capture {
		t.Errorf("asked %+v", got)
	}
	if _, err := a.Exec(ctx, GuestCommand{Argv: []string{"missing"}}); !errors.Is(err, ErrNotStarted) {
		t.Errorf("missing: %v", err)
	}
	if _, err := a.Exec(ctx, GuestCommand{Argv: []string{"long"}}); err == nil || !strings.Contains(err.Error(), "not whole") {
		t.Errorf("truncated: %v", err)
	}
	if _, err := a.Exec(ctx, GuestCommand{Argv: []string{"x"}, Stdin: bytes.NewReader(make([]byte, maxInput+1))}); err == nil {
		t.Error("an input without end is accepted")
	}
	if _, err := a.Exec(ctx, GuestCommand{}); err == nil {
		t.Error("no command is accepted")
	}
}

func TestAgentHostile(t *testing.T) {
	for _, say := range []string{"", "what\n", "[]\n", "{\"return\":7}\n", "{\"return\":{\"pid\":\"x\"}}\n"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		a, err := NewAgent(testCtx(t), fakeAgent(t, "\xff\xff{\"return\":[]}\n", func(string, json.RawMessage) string { return say }))
		if err != nil {
			t.Fatal(err)
		}
		if code, err := a.Exec(ctx, GuestCommand{Argv: []string{"x"}}); err == nil {
			t.Errorf("%q: exit code %d", say, code)
		}
		a.Close()
		cancel()
	}
	// No agent runs.
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewAgent(ctx, ours); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still booting") {
		t.Error(err)
	}
}

func FuzzAgent(f *testing.F) {
	f.Add([]byte(`{"return":{"pid":7}}` + "\n" + `{"return":{"exited":true,"exitcode":0}}` + "\n"))
	f.Add([]byte("\xff\n{\"error\":{}}\n"))
	f.Add([]byte(`{"return":{"exited":true,"signal":9,"out-data":"!"}}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			go func() {
				for b := make([]byte, 256); ; {
					if _, err := theirs.Read(b); err != nil {
						return
					}
				}
			}()
			theirs.Write(said)
		}()
		ctx := testCtx(t)
		a := &Agent{conn: ours, reader: bufio.NewReader(ours)}
		_, _ = a.Exec(ctx, GuestCommand{Argv: []string{"x"}})
		b := &Agent{conn: ours, reader: bufio.NewReader(bytes.NewReader(said))}
		_ = b.sync(ctx)
	})
}
