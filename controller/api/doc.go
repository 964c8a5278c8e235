// Package api is the contract of the controller's HTTP interface: every
// resource as a Go type, and a Client that speaks it. Whatever a person or a tool
// does with a controller goes through these types; the JSON that
// `ofctl-lab get -o json` prints is exactly theirs.
//
// The interface is served on a unix socket and, if configured, on TCP over
// loopback; its OpenAPI 3.1 description is at /openapi.json. Errors are problem
// documents (RFC 9457, see Problem). Names of networks are "tenant/network"
// everywhere, in paths too: /v1/networks/red/web.
//
// Times are RFC 3339, durations in the Go syntax ("5s"), addresses and prefixes
// as RFC 5952 text, MAC addresses in lower-case colon notation, datapath ids as 16
// hexadecimal digits.
package api
