// Package store keeps what is desired in one bbolt file: hosts, tenants,
// networks and ports, one record each, with what the topology file said beside
// them. Bindings are observed and never stored.
//
// Layout (schema 1): bucket "meta" holds "schema" (the number), "desired"
// (everything of topo.Desired but its objects), "topology" (Meta) and
// "programmed" and "held" (JSON lists); the buckets "hosts", "tenants", "networks" and
// "ports" hold one JSON record per object under its ID, 4 bytes big-endian.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// Schema is the version of the layout that this release writes.
const Schema = 1

// FileName is the name of the store's file within the state directory.
const FileName = "ofctl-lab.db"

// lockTimeout is how long Open waits for another process to let go of the file.
const lockTimeout = time.Second

// Meta is what a topology file says beside its objects.
type Meta struct {
	Name     string   `json:"name,omitempty"`
	Underlay Underlay `json:"underlay,omitzero"`
}

// Underlay is the network between the hosts.
type Underlay struct {
	Subnets []netip.Prefix `json:"subnets,omitempty"`
	MTU     int            `json:"mtu,omitempty"` // bytes; 0 if not known
}

// Equal reports whether m and o say the same.
func (m Meta) Equal(o Meta) bool {
	return m.Name == o.Name && m.Underlay.MTU == o.Underlay.MTU && slices.Equal(m.Underlay.Subnets, o.Underlay.Subnets)
}

// State is everything that is stored.
type State struct {
	Desired topo.Desired
	Meta    Meta
	// Programmed are the hosts whose switches have been given flows.
	Programmed map[string]bool
}

// Store is an open store. Its methods are for one goroutine at a time.
type Store struct {
	db   *bolt.DB
	path string
	// broken is set for good when bbolt panicked, because it may hold its locks.
	broken error
}

// DamagedError says that the store's file is not what bbolt writes.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("store %s is damaged: %v; move it away and apply the topology file again", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// guard runs f, which uses bbolt. In a damaged file bbolt follows what it reads
// wherever that leads, and where the file is cut off the mapped memory faults:
// either becomes a *DamagedError, which all later calls return too.
func (s *Store) guard(f func() error) (err error) {
	if s.broken != nil {
		return s.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			s.broken = &DamagedError{Path: s.path, Err: fmt.Errorf("%v", r)}
			err = s.broken
		}
	}()
	return f()
}

var (
	metaBucket    = []byte("meta")
	schemaKey     = []byte("schema")
	desiredKey    = []byte("desired")
	topologyKey   = []byte("topology")
	programmedKey = []byte("programmed")
)

// NewerSchemaError says that the store was written by a newer release.
type NewerSchemaError struct {
	Path      string
	Got, Want int
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("store %s has schema %d, and this release knows schemas up to %d: run the newer release, or start with another state-dir", e.Path, e.Got, e.Want)
}

// Open opens the store in dir, which is made if it does not exist. The error
// says so if another process has it open or a newer release wrote it.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("state directory: %w; name another with state-dir", err)
	}
	s := &Store{path: filepath.Join(dir, FileName)}
	err := s.guard(func() (err error) {
		s.db, err = bolt.Open(s.path, 0o600, &bolt.Options{Timeout: lockTimeout, FreelistType: bolt.FreelistMapType})
		return err
	})
	switch {
	case err == nil:
	case s.broken != nil:
		return nil, err
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("store %s is in use: another controller runs with this state-dir; stop it first, or use another state-dir", s.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("store: %w; run as the user whose file it is, or name another state-dir", err)
	default:
		return nil, fmt.Errorf("store %s: %w; if the file is damaged, move it away and apply the topology file again", s.path, err)
	}
	if err := s.guard(s.migrate); err != nil {
		_ = s.Close() // the error that matters is err
		return nil, err
	}
	return s, nil
}

// Close closes the store. One that is damaged stays open until the process
// ends: bbolt would wait for locks that nobody gives back.
func (s *Store) Close() error {
	if s.broken != nil {
		return nil
	}
	return s.db.Close()
}

// migrate makes the buckets of a new file and refuses a newer schema.
func (s *Store) migrate() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return fmt.Errorf("store %s: %w", s.path, err)
		}
		if v := meta.Get(schemaKey); v != nil {
			var got int
			if err := json.Unmarshal(v, &got); err != nil {
				return fmt.Errorf("store %s: schema number %q: %w", s.path, v, err)
			}
			if got > Schema {
				return &NewerSchemaError{Path: s.path, Got: got, Want: Schema}
			}
		}
		for _, b := range objectBuckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return fmt.Errorf("store %s: %w", s.path, err)
			}
		}
		return meta.Put(schemaKey, fmt.Appendf(nil, "%d", Schema))
	})
}
