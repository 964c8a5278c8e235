package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/datapath/libvirt"
)

func newLabConsole(a *app) *cobra.Command {
	var log bool
	cmd := &cobra.Command{
		Use:   "console GUEST",
		Short: "Connect to the serial console of a virtual machine of the lab",
		Long: `Connect to the serial console of a virtual machine of the lab, until Ctrl-] or the end
of the input. One client has it at a time. With --log print what it has said so far,
also before it was rebooted.`,
		Example: "  ofctl-lab lab console vm1 --log\n  ofctl-lab lab console vm1",
		Args:    args(1, 1, "GUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.theLab()
			if err != nil {
				return err
			}
			conn, path, err := a.labs().Console(cmd.Context(), name, args[0])
			if log && path != "" {
				if err == nil {
					conn.Close()
				}
				return a.copyFile(path)
			}
			if err != nil {
				return err
			}
			defer conn.Close()
			return a.console(cmd.Context(), conn)
		},
	}
	cmd.Flags().BoolVar(&log, "log", false, "print what the console has said, and leave")
	return cmd
}

func (a *app) copyFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w; the guest has not been started yet", err)
	}
	defer f.Close()
	_, err = io.Copy(a.out, f)
	return err
}

// console connects the terminal, or whatever is read and written instead, to conn.
func (a *app) console(ctx context.Context, conn net.Conn) (err error) {
	restore, err := a.rawTerminal()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	a.progress("connected; leave with Ctrl-]\r")
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	typed := make(chan error, 1)
	go func() {
		// It may read for ever from a terminal; it ends with the program.
		typed <- copyTyped(conn, a.in)
		conn.Close()
	}()
	_, err = io.Copy(a.out, conn)
	if errors.Is(err, net.ErrClosed) {
		err = nil // by us
		select {
		case err = <-typed:
		default:
		}
	}
	return err
}

// copyTyped copies what is typed, to the end or to the key that also leaves a console
// under libvirt.
func copyTyped(to io.Writer, from io.Reader) error {
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		part := buf[:n]
		i := bytes.IndexByte(part, libvirt.Escape)
		if i >= 0 {
			part = part[:i]
		}
		if _, werr := to.Write(part); werr != nil {
			return werr
		}
		if i >= 0 || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
