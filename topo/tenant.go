package topo

import "github.com/google/uuid"

// Tenant is an owner of networks.
type Tenant struct {
	ID   ID
	UUID uuid.UUID
	Name string
}
