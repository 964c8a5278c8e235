// Command ofnet-peer programs flows through the ofctrl package of contiv/ofnet
// into one bridge and says how long it took. It is a yardstick for the
// benchmarks and nothing else.
//
// It listens for one bridge, which must speak OpenFlow10 and OpenFlow13, sends
// it -flows flow-mods of the shape that all peers of the flow-programming figure
// send, then a barrier, counts the flows that are there, and writes one line of
// JSON to standard output:
//
//	{"flows":50000,"installed":50000,"seconds":1.6,"flows_per_second":31250,"cpu_seconds":1.9,"pss_bytes":98000000}
//
// The clock runs from the moment the bridge is connected to its answer after the
// barrier; the count is not in it. Exit codes: 0 all flows are in the bridge, 1 they are not, 2 usage.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/Sirupsen/logrus"
	"github.com/contiv/libOpenflow/openflow13"
	"github.com/contiv/ofnet/ofctrl"
)

// result is what the program writes; the harness reads it.
type result struct {
	Flows          int     `json:"flows"`
	Installed      int     `json:"installed"`
	Seconds        float64 `json:"seconds"`
	FlowsPerSecond float64 `json:"flows_per_second"`
	CPUSeconds     float64 `json:"cpu_seconds"` // user and system time of this process
	PSSBytes       int64   `json:"pss_bytes"`   // its proportional set size at the end
}

func main() {
	listen := flag.String("listen", "127.0.0.1:6653", "`address` to wait for the bridge on")
	flows := flag.Int("flows", 50000, "flows to program, 1 … 16777215")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for the bridge, and then for the flows")
	flag.Parse()
	if flag.NArg() > 0 || *flows < 1 || *flows > maxFlows {
		flag.Usage()
		os.Exit(2)
	}

	res, err := run(*listen, *flows, *timeout)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(res)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ofnet-peer:", err)
		os.Exit(1)
	}
}

// run waits for a bridge on listen and programs n flows into it. ofctrl ends
// the process itself when it cannot listen.
func run(listen string, n int, timeout time.Duration) (result, error) {
	// Its log lines for every connection are of no use here.
	logrus.SetLevel(logrus.WarnLevel)

	app := newApp()
	controller := ofctrl.NewController(app)
	go controller.Listen(listen)

	var sw *ofctrl.OFSwitch
	select {
	case sw = <-app.connected:
	case <-time.After(timeout):
		return result{}, fmt.Errorf("no bridge connected to %s within %s: point one there with ovs-vsctl set-controller, and let its protocols be OpenFlow10,OpenFlow13", listen, timeout)
	}

	cpu, start := cpuTime(), time.Now()
	sent := make(chan error, 1)
	go func() { sent <- program(sw, n) }()

	var elapsed float64
	var used time.Duration
	deadline := time.After(timeout)
	for {
		select {
		case err := <-sent:
			if err != nil {
				return result{}, err
			}
			sent = nil // wait for the bridge's answer
		case installed := <-app.counted:
			if elapsed == 0 { // the answer after the barrier
				elapsed, used = time.Since(start).Seconds(), cpuTime()-cpu
				go askCount(sw, flowTable)
				continue
			}
			pss, err := pssBytes()
			if err != nil {
				return result{}, err
			}
			res := result{
				Flows:          n,
				Installed:      installed,
				Seconds:        elapsed,
				FlowsPerSecond: float64(n) / elapsed,
				CPUSeconds:     used.Seconds(),
				PSSBytes:       pss,
			}
			if installed != n {
				return res, fmt.Errorf("the bridge holds %d flows in table %d instead of %d: empty the table first, and look for errors above", installed, flowTable, n)
			}
			return res, nil
		case <-app.disconnected:
			return result{}, errors.New("the bridge closed its connection before all flows were in it")
		case <-deadline:
			return result{}, fmt.Errorf("the bridge did not report %d flows within %s", n, timeout)
		}
	}
}

// app receives ofctrl's callbacks. Every channel has room for the one value
// that matters, and later ones are let go: a callback must not block ofctrl's
// only receive loop.
type app struct {
	connected    chan *ofctrl.OFSwitch
	disconnected chan struct{}
	counted      chan int
}

func newApp() *app {
	return &app{
		connected:    make(chan *ofctrl.OFSwitch, 1),
		disconnected: make(chan struct{}, 1),
		counted:      make(chan int, 1),
	}
}

func (a *app) SwitchConnected(sw *ofctrl.OFSwitch) {
	select {
	case a.connected <- sw:
	default:
	}
}

func (a *app) SwitchDisconnected(*ofctrl.OFSwitch) {
	select {
	case a.disconnected <- struct{}{}:
	default:
	}
}

func (a *app) PacketRcvd(*ofctrl.OFSwitch, *ofctrl.PacketIn) {}

// MultipartReply takes the aggregate statistics reply. ofctrl keeps barrier
// replies to itself, but a bridge answers in order: this reply comes after the
// barrier, and after every flow-mod before that.
func (a *app) MultipartReply(_ *ofctrl.OFSwitch, reply *openflow13.MultipartReply) {
	for _, body := range reply.Body {
		if stats, ok := body.(*openflow13.AggregateStats); ok {
			select {
			case a.counted <- int(stats.FlowCount):
			default:
			}
		}
	}
}

// cpuTime is the user and system time this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pssBytes is the proportional set size of this process (proc(5), smaps_rollup).
func pssBytes() (int64, error) {
	rollup, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(rollup)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
			return kib * 1024, nil
		}
	}
	return 0, errors.New("/proc/self/smaps_rollup has no line Pss")
}
