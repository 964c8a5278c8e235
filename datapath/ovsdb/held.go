package ovsdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// externalIDHeld of Open_vSwitch has the devices that are held down, separated by
// spaces, which no name of a device has. It is in that row, and not in the one of the
// interface, because a device that is taken off the bridge goes without its row, and
// stays down.
const externalIDHeld = "ofctl-lab-held"

// heldDevices reads externalIDHeld.
func heldDevices(externalIDs map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, device := range strings.Fields(externalIDs[externalIDHeld]) {
		out[device] = true
	}
	return out
}

// NoteHeld makes devices what the host's database says is held down by the
// controller, and nothing else. When it returns nil, Facts shows it. Of two calls at
// once the later one stands.
func (s *Session) NoteHeld(ctx context.Context, devices map[string]bool) error {
	names := slices.Sorted(maps.Keys(devices))
	for _, name := range names {
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsSpace) {
			return s.named(fmt.Errorf("device %q cannot be noted as held: no device has that name", name))
		}
	}
	// A key that is there is not overwritten by an insertion.
	mutations := []ovsdb.Mutation{*ovsdb.NewMutation("external_ids", ovsdb.MutateOperationDelete, ovsdb.OvsSet{GoSet: []any{externalIDHeld}})}
	if len(names) > 0 {
		mutations = append(mutations, *ovsdb.NewMutation("external_ids", ovsdb.MutateOperationInsert,
			stringMap(map[string]string{externalIDHeld: strings.Join(names, " ")})))
	}
	_, err := s.commit(ctx, []ovsdb.Operation{
		{Op: ovsdb.OperationMutate, Table: tableOpenVSwitch, Where: byUUID(s.picture.Load().root.UUID), Mutations: mutations},
	})
	if err == nil && !maps.Equal(s.Facts().Held, devices) {
		err = fmt.Errorf("its database does not have external_ids:%s as it was written", externalIDHeld)
	}
	if err != nil {
		return s.named(err)
	}
	return nil
}
