package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

func objectBuckets() []string { return []string{"hosts", "tenants", "networks", "ports"} }

// Load reads everything. A new store holds the zero State with the first ID.
func (s *Store) Load() (State, error) {
	st := State{Desired: topo.Empty().Desired(), Programmed: map[string]bool{}}
	err := s.read(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		var programmed []string
		for _, v := range []struct {
			key []byte
			dst any
		}{{desiredKey, &st.Desired}, {topologyKey, &st.Meta}, {programmedKey, &programmed}} {
			if b := meta.Get(v.key); b != nil {
				if err := json.Unmarshal(b, v.dst); err != nil {
					return fmt.Errorf("record meta/%s: %w", v.key, err)
				}
			}
		}
		for _, h := range programmed {
			st.Programmed[h] = true
		}
		d := &st.Desired
		var err error
		if d.Hosts, err = list[topo.Host](tx, "hosts"); err != nil {
			return err
		}
		if d.Tenants, err = list[topo.Tenant](tx, "tenants"); err != nil {
			return err
		}
		if d.Networks, err = list[topo.Network](tx, "networks"); err != nil {
			return err
		}
		d.Ports, err = list[topo.Port](tx, "ports")
		return err
	})
	var damaged *DamagedError
	switch {
	case errors.As(err, &damaged):
		return State{}, err
	case err != nil:
		return State{}, &DamagedError{Path: s.path, Err: err}
	}
	return st, nil
}

func (s *Store) read(f func(*bolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(f) })
}

func (s *Store) write(f func(*bolt.Tx) error) error {
	return s.guard(func() error { return s.db.Update(f) })
}

// list reads all records of a bucket, ascending by ID.
func list[T any](tx *bolt.Tx, bucket string) ([]T, error) {
	var out []T
	err := tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
		var o T
		if err := json.Unmarshal(v, &o); err != nil {
			return fmt.Errorf("record %s/%x: %w", bucket, k, err)
		}
		out = append(out, o)
		return nil
	})
	return out, err
}

// Save makes st what is stored, in one transaction: after an error the store
// holds what it held. Only records that differ are written.
func (s *Store) Save(st State) error {
	rest := st.Desired
	rest.Hosts, rest.Tenants, rest.Networks, rest.Ports = nil, nil, nil, nil
	err := s.write(func(tx *bolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		for _, v := range []struct {
			key   []byte
			value any
		}{{desiredKey, rest}, {topologyKey, st.Meta}, {programmedKey, slices.Sorted(maps.Keys(st.Programmed))}} {
			if err := put(meta, v.key, v.value); err != nil {
				return err
			}
		}
		d := &st.Desired
		if err := replace(tx, "hosts", d.Hosts, func(o *topo.Host) topo.ID { return o.ID }); err != nil {
			return err
		}
		if err := replace(tx, "tenants", d.Tenants, func(o *topo.Tenant) topo.ID { return o.ID }); err != nil {
			return err
		}
		if err := replace(tx, "networks", d.Networks, func(o *topo.Network) topo.ID { return o.ID }); err != nil {
			return err
		}
		return replace(tx, "ports", d.Ports, func(o *topo.Port) topo.ID { return o.ID })
	})
	if err != nil && s.broken == nil {
		return fmt.Errorf("store %s: %w", s.path, err)
	}
	return err
}

// put writes a record if it differs.
func put(b *bolt.Bucket, key []byte, value any) error {
	enc, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	if bytes.Equal(b.Get(key), enc) {
		return nil
	}
	return b.Put(key, enc)
}

// replace makes objects the contents of a bucket.
func replace[T any](tx *bolt.Tx, bucket string, objects []T, id func(*T) topo.ID) error {
	b := tx.Bucket([]byte(bucket))
	keep := make(map[string]bool, len(objects))
	for i := range objects {
		key := binary.BigEndian.AppendUint32(nil, uint32(id(&objects[i])))
		keep[string(key)] = true
		if err := put(b, key, &objects[i]); err != nil {
			return err
		}
	}
	var gone [][]byte
	err := b.ForEach(func(k, _ []byte) error {
		if !keep[string(k)] {
			gone = append(gone, bytes.Clone(k))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range gone {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
