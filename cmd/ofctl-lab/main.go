// Command ofctl-lab builds tenant networks over tunnel keys on Open vSwitch: it
// is the controller, the lab of many hosts on one machine, and the client that
// drives and shows both.
//
// Every command speaks to the controller through its HTTP interface
// (controller/api). Data goes to standard output, everything else to standard
// error. The exit status is 0 for success, 1 for failure, 2 for wrong usage and 3
// for "there is a difference".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

//go:generate go run . reference --write ../../docs/reference/cli.md

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once, should a clean-up hang.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}
