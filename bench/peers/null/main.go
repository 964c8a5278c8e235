// Null answers packet-ins and does nothing else: it is the limit of what any program that
// answers each of them could do. It reads no more than the header of a message, and what
// it sends is encoded beforehand but for the frame and its ingress port, which it
// copies from where the switches of bench/switch put them. It learns nothing: it floods.
package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
)

// Messages of OpenFlow 1.3 and where the fleet's packet-ins have their parts, in bytes.
const (
	headerLen   = 8
	echoRequest = 2
	echoReply   = 3
	packetIn    = 10
	inPortAt    = 32
	frameAt     = 42

	bufferLen = 1 << 16 // the longest message, or hundreds of packet-ins
)

const (
	// greeting is a hello, a features request and a set-config.
	greeting = "\x04\x00\x00\x08\x00\x00\x00\x01" +
		"\x04\x05\x00\x08\x00\x00\x00\x02" +
		"\x04\x09\x00\x0c\x00\x00\x00\x03\x00\x00\xff\xff"
	// answer is a packet-out that floods a frame without a buffer; length and in_port are missing.
	answer = "\x04\x0d\x00\x00\x00\x00\x00\x04" +
		"\xff\xff\xff\xff\x00\x00\x00\x00" +
		"\x00\x10\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x10\xff\xff\xff\xfb\x00\x00\x00\x00\x00\x00\x00\x00"
)

func main() {
	listen := flag.String("listen", ":6653", "where to listen for switches, as host:port")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "null:", err)
		os.Exit(1)
	}
}

func run(addr string) error {
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
			defer nc.Close()
			if err := serve(nc); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintf(os.Stderr, "null: %v: %v\n", nc.RemoteAddr(), err)
			}
		}()
	}
}

// serve answers all packet-ins that came together by one write.
func serve(nc net.Conn) error {
	if _, err := io.WriteString(nc, greeting); err != nil {
		return err
	}
	in, have := make([]byte, bufferLen), 0
	var out []byte
	for {
		n, err := nc.Read(in[have:])
		if err != nil {
			return err
		}
		have += n
		rest := in[:have]
		for len(rest) >= headerLen {
			n := int(binary.BigEndian.Uint16(rest[2:]))
			if n < headerLen {
				return fmt.Errorf("message of length %d", n)
			}
			if n > len(rest) {
				break
			}
			out = reply(out, rest[:n])
			rest = rest[n:]
		}
		have = copy(in, rest)
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
}

// reply appends the answer to the message b, if it has one.
func reply(out, b []byte) []byte {
	at := len(out)
	switch {
	case b[1] == packetIn && len(b) > frameAt:
		out = append(out, answer...)
		out = append(out, b[frameAt:]...)
		binary.BigEndian.PutUint16(out[at+2:], uint16(len(out)-at))
		copy(out[at+12:], b[inPortAt:inPortAt+4])
	case b[1] == echoRequest:
		out = append(out, b...)
		out[at+1] = echoReply
	}
	return out
}
