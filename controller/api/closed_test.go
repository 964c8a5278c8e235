package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ofctl-lab/ofctl-lab/datapath/closed/closedtest"
)

// over is a client whose one connection is that.
func over(t *testing.T, conn net.Conn) *Client {
	t.Helper()
	c, err := NewClient("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return c
}

// A controller that closed the connection is one error, whatever finds out; it says that what
// became of the request is not known.
func TestClosed(t *testing.T) {
	for name, request := range map[string]func(context.Context, *Client) error{
		"read":  func(ctx context.Context, c *Client) error { _, err := c.Status(ctx); return err },
		"write": func(ctx context.Context, c *Client) error { _, err := c.PutTenant(ctx, "red"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			closedtest.Try(t, ErrClosed, func(t *testing.T) (*net.UnixConn, func() error) {
				ours, theirs := closedtest.Pair(t)
				c := over(t, ours)
				return theirs, func() error {
					err := request(t.Context(), c)
					if err != nil && !strings.Contains(err.Error(), "whether it was carried out is not known") {
						t.Error(err)
					}
					return err
				}
			})
		})
	}
	for name, answer := range map[string]string{
		"within the head": "HTTP/1.1 200 O",
		"within the body": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"within a chunk":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := closedtest.Pair(t)
			go func() {
				// The request first: an answer to none is another error.
				if _, err := theirs.Read(make([]byte, 64<<10)); err == nil {
					fmt.Fprint(theirs, answer)
				}
				theirs.CloseWrite()
			}()
			_, err := over(t, ours).Status(t.Context())
			closedtest.Check(t, ErrClosed, err)
		})
	}
}

// roundTripper is a transport that fails.
type roundTripper struct{ err error }

func (r roundTripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, r.err }

// net/http has no type for the error of an idle connection that is closed as the next request
// goes out. Its words are those that are looked for.
func TestClosedIdle(t *testing.T) {
	c, err := NewClient("")
	if err != nil {
		t.Fatal(err)
	}
	c.http = &http.Client{Transport: roundTripper{errors.New(closedIdle)}}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	c.http = &http.Client{Transport: roundTripper{context.DeadlineExceeded}}
	if _, err := c.Status(t.Context()); errors.Is(err, ErrClosed) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
