package harness

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and the precision of every histogram of latencies, in nanoseconds.
const (
	minLatency    = 1
	maxLatency    = 60_000_000_000
	latencyDigits = 3
)

// NewLatency is an empty histogram of latencies in nanoseconds: up to a minute, with three
// significant digits.
func NewLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(minLatency, maxLatency, latencyDigits)
}

// Latency sums up the single latencies of a peer, those of all its rounds, in nanoseconds.
type Latency struct {
	Count int64 `json:"count"`
	// Beyond are those of a minute or more, which no percentile counts.
	Beyond int64 `json:"beyond,omitempty"`
	P50    int64 `json:"p50_ns"`
	P90    int64 `json:"p90_ns"`
	P99    int64 `json:"p99_ns"`
	P999   int64 `json:"p999_ns"`
	Max    int64 `json:"max_ns"`
	// Encoded is the histogram in the compressed V2 form of HdrHistogram, which its other
	// implementations read too.
	Encoded string `json:"hdr_v2"`
}

// sumLatency merges the histograms of the samples; nil if none has any.
func sumLatency(samples []Sample) *Latency {
	all, l := NewLatency(), &Latency{}
	for _, s := range samples {
		if s.Latency != nil {
			l.Beyond += all.Merge(s.Latency)
		}
	}
	if all.TotalCount() == 0 && l.Beyond == 0 {
		return nil
	}
	l.take(all)
	encoded, err := all.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		// Encoding writes to memory and knows this one version: it cannot fail.
		panic(fmt.Sprintf("histogram of latencies: %v", err))
	}
	l.Encoded = string(encoded)
	return l
}

// take takes the numbers of a histogram.
func (l *Latency) take(h *hdrhistogram.Histogram) {
	p := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	l.Count, l.P50, l.P90, l.P99, l.P999, l.Max = h.TotalCount(), p[0], p[1], p[2], p[3], h.Max()
}

// derive takes the numbers of the encoded histogram anew. No latencies are fine.
func (l *Latency) derive() error {
	if l == nil {
		return nil
	}
	if l.Beyond < 0 {
		return fmt.Errorf("%d latencies of a minute or more", l.Beyond)
	}
	h, err := l.Histogram()
	if err != nil {
		return err
	}
	if h.TotalCount() < 0 {
		return fmt.Errorf("histogram of latencies: it counts %d", h.TotalCount())
	}
	l.take(h)
	return nil
}

// Histogram decodes the histogram. A hostile encoding is an error and takes no more memory than
// a histogram of ours.
func (l *Latency) Histogram() (*hdrhistogram.Histogram, error) {
	if err := checkGeometry(l.Encoded); err != nil {
		return nil, fmt.Errorf("histogram of latencies: %w", err)
	}
	h, err := hdrhistogram.Decode([]byte(l.Encoded))
	if err != nil {
		return nil, fmt.Errorf("histogram of latencies: %w", err)
	}
	return h, nil
}

// checkGeometry refuses a histogram of another range or precision than NewLatency's:
// decoding one allocates whatever its header asks for.
func checkGeometry(encoded string) error {
	// A histogram is at most some 100 kB, with every bucket in use.
	if len(encoded) > 1<<20 {
		return fmt.Errorf("%d bytes are too many", len(encoded))
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return err
	}
	const outer = 8 // cookie and length
	if len(raw) < outer {
		return errors.New("too short")
	}
	z, err := zlib.NewReader(bytes.NewReader(raw[outer:]))
	if err != nil {
		return err
	}
	// Cookie, length, offset, digits, lowest, highest.
	var head struct {
		Cookie, Length, Offset, Digits int32
		Lowest, Highest                int64
	}
	if err := binary.Read(io.LimitReader(z, 64), binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Digits != latencyDigits || head.Lowest != minLatency || head.Highest != maxLatency {
		return fmt.Errorf("range %d … %d with %d digits; want %d … %d with %d", head.Lowest, head.Highest, head.Digits, minLatency, maxLatency, latencyDigits)
	}
	return z.Close()
}
