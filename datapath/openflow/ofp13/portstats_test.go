package ofp13

import "testing"

func TestPortStats(t *testing.T) {
	want := []PortStats{{Number: 3, Received: 4, Sent: 5, Dropped: NoCount, SendDrops: 7}, {Number: 0xfffffffe, Sent: 1}}
	var b []byte
	for _, s := range want {
		b = AppendPortStats(b, s)
	}
	got, err := DecodePortStats(b)
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := DecodePortStats(b[:PortStatsLen+1]); err == nil {
		t.Error("a reply that is cut off is read")
	}
}
