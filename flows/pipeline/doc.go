// Package pipeline turns a topo.Snapshot into what each switch must hold. It is
// the only room that knows both the overlay and OpenFlow.
//
// # How to read it
//
// tables.go is the pipeline on one screen; fields.go says what every register
// bit means; features.go names the reasons in a cookie; then there is one file
// per table, which holds every row that the table can have. compile.go puts
// the rows of one host together.
//
// # How to add a table
//
// Give it a number between two others in tables.go (numbers are spaced by ten
// and never reused), declare what it may match, write and go to, write one file
// with its rows, call that from compile.go, and run make generate for the
// reference. Tests check every compiled flow against the declarations.
//
// # How to add a feature
//
// Package cases says it: a feature brings packets of which it declares what becomes,
// and every test of the pipeline is made from these.
//
// All functions are pure and safe for concurrent use.
package pipeline

//go:generate go test -run "Golden|Reference" -update .
