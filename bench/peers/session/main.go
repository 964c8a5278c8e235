// Session is a learning switch on the project's own OpenFlow session: what answering
// packet-ins costs with all that a controller needs round it (a bounded ring for events,
// replies by xid, keep-alive, decoding that trusts nothing).
//
// It decides as the other learning controllers of the benchmark do with flow set-up turned off:
// the source of a frame is learned; a frame to an address that has been learned goes out
// by its port, any other is flooded. Each packet-in is answered by a packet-out.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/ofctl-lab/ofctl-lab/datapath/openflow"
	"github.com/ofctl-lab/ofctl-lab/flows"
)

// maxLearned bounds the addresses learned per switch, as every controller must: a guest can
// make up as many as it likes.
const maxLearned = 2048

func main() {
	listen := flag.String("listen", ":6653", "where to listen for switches, as host:port")
	flag.Parse()
	if err := run(context.Background(), *listen); err != nil {
		fmt.Fprintln(os.Stderr, "session:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := serve(ctx, nc); err != nil {
				fmt.Fprintln(os.Stderr, "session:", err)
			}
		}()
	}
}

// serve is one switch, until its connection ends.
func serve(ctx context.Context, nc net.Conn) error {
	s := &learning{ctx: ctx, ports: map[uint64]uint32{}, actions: map[uint32][]flows.Action{}}
	c, err := openflow.Connect(ctx, nc, openflow.Options{OnPacketIn: s.packetIn})
	if err != nil {
		return err
	}
	s.conn.Store(c)
	<-c.Done()
	if n := c.DroppedEvents(); n > 0 {
		return fmt.Errorf("%w; %d packet-ins dropped", c.Err(), n)
	}
	return c.Err()
}
