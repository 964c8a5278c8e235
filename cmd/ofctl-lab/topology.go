package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
	"github.com/ofctl-lab/ofctl-lab/datapath/guest"
	"github.com/ofctl-lab/ofctl-lab/topo"
	"github.com/ofctl-lab/ofctl-lab/topo/file"
)

// maxTopology bounds what is read of a topology file, in bytes.
const maxTopology = 16 << 20

// topology is a topology file that is valid by itself.
type topology struct {
	*file.File
	snapshot *topo.Snapshot  // what an empty overlay becomes by it
	machines []guest.Machine // its guests, in its order
	body     api.TopologyBody
}

// readTopology reads and checks a topology file; "-" is standard input. Every
// error in the file is reported with its line and column.
func (a *app) readTopology(name string) (*topology, error) {
	data, shown, err := a.readFile(name)
	if err != nil {
		return nil, fmt.Errorf("the topology: %w", err)
	}
	f, err := file.Parse(shown, data)
	if err != nil {
		return nil, located{err}
	}
	s, _, err := file.Check(f, topo.Empty())
	if err != nil {
		return nil, located{err}
	}
	t := &topology{File: f, snapshot: s, body: api.TopologyBody{Name: shown, Text: string(data)}}
	if err := t.resolveMachines(); err != nil {
		return nil, located{err}
	}
	return t, nil
}

// readFile reads a file of bounded size and says under which name its errors
// are reported.
func (a *app) readFile(name string) (data []byte, shown string, err error) {
	in, shown := a.in, "<stdin>"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			return nil, "", fmt.Errorf("file %s: %w; name an existing one, or - for standard input", name, err)
		}
		defer f.Close()
		in, shown = f, name
	}
	data, err = io.ReadAll(io.LimitReader(in, maxTopology+1))
	if err != nil {
		return nil, "", fmt.Errorf("reading file %s: %w", shown, err)
	}
	if len(data) > maxTopology {
		return nil, "", fmt.Errorf("file %s is over %d MiB", shown, maxTopology>>20)
	}
	return data, shown, nil
}
