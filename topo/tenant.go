package topo

import "github.com/google/uuid"

// Tenant is an owner of networks.
type Tenant struct {
	ID   ID        `json:"id"`
	UUID uuid.UUID `json:"uuid"`
	Name string    `json:"name"`
}
