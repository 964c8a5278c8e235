package store

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/ofctl-lab/ofctl-lab/topo"
)

// equal compares snapshots as what would be stored of them.
var equal = cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// overlay is a snapshot with one object of each kind and a retired key.
func overlay(t *testing.T) *topo.Snapshot {
	t.Helper()
	commit := func(txn *topo.Txn) *topo.Snapshot {
		s, _, err := txn.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	txn := topo.Empty().Begin()
	txn.PutHost(topo.Host{Name: "host1", TEP: netip.MustParseAddr("192.0.2.1")})
	txn.PutTenant(topo.Tenant{Name: "red"})
	txn.PutNetwork(topo.Network{Tenant: "red", Name: "web", Encap: topo.GRE, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}})
	txn.PutNetwork(topo.Network{Tenant: "red", Name: "old", Encap: topo.VXLAN, Key: 77})
	txn.PutPort(topo.Port{Name: "red-a", Network: "red/web", Addresses: []netip.Addr{netip.MustParseAddr("10.1.1.1")}})
	txn.PutPort(topo.Port{Name: "sw1", Guest: "vm1", Interface: "eth0", Profile: topo.ProfileSwitch, Trunk: &topo.Trunk{VLANs: []topo.SubPort{{VLAN: 10, Network: "red/web"}}}})
	s := commit(txn)
	txn = s.Begin()
	if err := txn.DeleteNetwork("red/old"); err != nil {
		t.Fatal(err)
	}
	return commit(txn)
}

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	snap := overlay(t)
	want := State{Desired: snap.Desired(), Meta: Meta{Name: "two-hosts", Underlay: Underlay{MTU: 1500}}, Programmed: map[string]bool{"host1": true}}
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	restored, err := topo.Restore(got.Desired)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(snap.Desired(), restored.Desired(), equal); d != "" {
		t.Errorf("desired differs:\n%s", d)
	}
	if !got.Meta.Equal(want.Meta) || !got.Programmed["host1"] || len(got.Programmed) != 1 {
		t.Errorf("meta %+v programmed %v", got.Meta, got.Programmed)
	}
}

func TestSaveDeletes(t *testing.T) {
	s := open(t, t.TempDir())
	snap := overlay(t)
	if err := s.Save(State{Desired: snap.Desired()}); err != nil {
		t.Fatal(err)
	}
	txn := snap.Begin()
	if err := txn.DeletePort("red-a"); err != nil {
		t.Fatal(err)
	}
	next, _, err := txn.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(State{Desired: next.Desired()}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Desired.Ports) != 1 || got.Desired.Ports[0].Name != "sw1" {
		t.Errorf("ports = %+v, want only sw1", got.Desired.Ports)
	}
}

func TestNewStoreIsEmpty(t *testing.T) {
	got, err := open(t, t.TempDir()).Load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topo.Restore(got.Desired); err != nil {
		t.Errorf("a new store does not restore: %v", err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), "another controller runs") {
		t.Errorf("error = %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, []byte("2")) })
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	_, err = Open(dir)
	var newer *NewerSchemaError
	if !errors.As(err, &newer) || newer.Got != 2 || newer.Want != Schema {
		t.Errorf("error = %v", err)
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("ports")).Put([]byte{0, 0, 0, 9}, []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "ports/00000009") {
		t.Errorf("error = %v, want one that names the record", err)
	}
	_ = s.Close()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("not a database, and long enough to be read as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error = %v", err)
	}
}
