package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/controller/config"
	"github.com/ofctl-lab/ofctl-lab/datapath/lab"
)

// daemon is a client of the controller and how its address was found.
type daemon struct {
	*api.Client
	target string
	origin string // "--socket", "lab two-hosts", …
}

// daemon finds the controller to speak to: --socket, OFCTL_LAB_SOCKET, the
// configuration file, the running lab's own (if exactly one runs, or that of
// --lab), the default. It does not connect.
func (a *app) daemon(cmd *cobra.Command) (*daemon, error) {
	target, origin, err := a.findDaemon(cmd)
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(target)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", origin, err)}
	}
	return &daemon{Client: c, target: target, origin: origin}, nil
}

func (a *app) findDaemon(cmd *cobra.Command) (target, origin string, err error) {
	if s := a.settings.GetString("socket"); s != "" {
		if cmd.Flags().Changed("socket") {
			return s, "--socket", nil
		}
		return s, config.EnvPrefix + "_SOCKET", nil
	}
	labs := a.labs()
	if name := a.settings.GetString("lab"); name != "" {
		if _, err := labs.Spec(name); err != nil {
			return "", "", a.unknownLab(name, err)
		}
		return labSocket(labs, name), "lab " + name, nil
	}
	// The configuration is the controller's: whoever moved the socket there
	// moved it for the clients too.
	c, err := config.Load(cmd.Flags())
	if err != nil {
		return "", "", err
	}
	if c.APISocket != api.DefaultSocket {
		return c.APISocket, "configuration", nil
	}
	running, err := labs.List()
	if err != nil {
		return "", "", fmt.Errorf("looking for running labs: %w; name the controller with --socket", err)
	}
	switch len(running) {
	case 0:
		return c.APISocket, fmt.Sprintf("the default, since no lab runs below %s", a.settings.GetString("state-root")), nil
	case 1:
		return labSocket(labs, running[0].Name), "lab " + running[0].Name, nil
	}
	return "", "", usagef("several labs run (%s): choose one with --lab, or a controller with --socket", strings.Join(labNames(running), ", "))
}

// explain adds to an error of a request how the controller was found, where
// that helps.
func (d *daemon) explain(err error) error {
	var p *api.Problem
	if err == nil || errors.As(err, &p) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w (address from %s; choose another with --socket, OFCTL_LAB_SOCKET or --lab)", err, d.origin)
}

// notFound reports whether the controller said that there is no such object.
func notFound(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// labDaemon is a client of a lab's own controller.
func (a *app) labDaemon(name string) (*daemon, error) {
	target := "unix:" + labSocket(a.labs(), name)
	c, err := api.NewClient(target)
	if err != nil {
		return nil, err
	}
	return &daemon{Client: c, target: target, origin: "lab " + name}, nil
}

// labs are the labs of this machine.
func (a *app) labs() *lab.Manager {
	m := lab.New(a.settings.GetString("state-root"))
	m.Waits = func(name, holder string) { a.progress("lab %s: waiting for another command, %s", name, clean(holder)) }
	m.TakeBack = func(ctx context.Context, name string, leave map[string]lab.Leave) error {
		d, err := a.labDaemon(name)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.endMigrations(ctx, leave)
	}
	return m
}

// labSocket is where a lab's own controller serves its interface.
func labSocket(labs *lab.Manager, name string) string {
	return filepath.Join(labs.Dir(name), "controller", "api.sock")
}

func labNames(l []lab.Summary) []string {
	names := make([]string, len(l))
	for i := range l {
		names[i] = l[i].Name
	}
	return names
}

// unknownLab is err, with the labs that there are if there is none of that name.
func (a *app) unknownLab(name string, err error) error {
	if !errors.Is(err, lab.ErrNoLab) {
		return err
	}
	l, lerr := a.labs().List()
	if lerr != nil {
		return errors.Join(err, lerr)
	}
	return fmt.Errorf("%w; %s", err, meant(name, labNames(l)))
}
