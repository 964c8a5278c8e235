package harness

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func histogramOf(t *testing.T, values ...int64) *hdrhistogram.Histogram {
	t.Helper()
	h := NewLatency()
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func TestLatenciesOfAllRoundsAreMerged(t *testing.T) {
	long := hdrhistogram.New(1, 1e12, 3)
	if err := long.RecordValue(90e9); err != nil {
		t.Fatal(err)
	}
	l := sumLatency([]Sample{{Latency: histogramOf(t, 1000, 2000)}, {}, {Latency: histogramOf(t, 3000, 1_000_000)}, {Latency: long}})
	if l.Count != 4 || l.Beyond != 1 || l.P50 != 2000 || l.P999 < 1_000_000 || l.P999 > 1_001_000 || l.Max < 1_000_000 {
		t.Errorf("%+v", l)
	}
	h, err := l.Histogram()
	if err != nil || !h.Equals(histogramOf(t, 1000, 2000, 3000, 1_000_000)) {
		t.Errorf("decoded: %v, error %v", h, err)
	}
	if sumLatency([]Sample{{}, {}}) != nil {
		t.Error("latencies out of nothing")
	}
}

// A percentile of fewer latencies than it parts is left out.
func TestPercentilesOfFewLatencies(t *testing.T) {
	for count, want := range map[int][]bool{99: {false, false}, 100: {true, false}, 999: {true, false}, 1000: {true, true}} {
		l := sumLatency([]Sample{{Latency: histogramOf(t, make([]int64, count)...)}})
		cells := l.row()
		if got := []bool{cells[3] != "-", cells[4] != "-"}; !slices.Equal(got, want) {
			t.Errorf("%d latencies: %q", count, cells)
		}
	}
}

// encodedWith is the head of a histogram of another geometry.
func encodedWith(t *testing.T, digits int32, highest int64) string {
	t.Helper()
	var raw, packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	for _, v := range []any{int32(0x1c849313), int32(0), int32(0), digits, int64(1), highest, float64(1)} {
		if err := binary.Write(z, binary.BigEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []int32{0x1c849314, int32(packed.Len())} {
		if err := binary.Write(&raw, binary.BigEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return base64.StdEncoding.EncodeToString(append(raw.Bytes(), packed.Bytes()...))
}

func TestHistogramRefuses(t *testing.T) {
	for name, encoded := range map[string]string{
		"nothing": "", "no base64": "???", "short": "AAAA", "no zlib": base64.StdEncoding.EncodeToString(make([]byte, 40)),
		"huge": encodedWith(t, 5, 1<<62), "other digits": encodedWith(t, 2, maxLatency), "long": strings.Repeat("A", 2<<20),
	} {
		if h, err := (&Latency{Encoded: encoded}).Histogram(); err == nil {
			t.Errorf("%s is accepted: %v", name, h)
		}
	}
	if _, err := (&Latency{Encoded: encodedWith(t, latencyDigits, maxLatency)}).Histogram(); err != nil {
		t.Errorf("an empty one: %v", err)
	}
}
