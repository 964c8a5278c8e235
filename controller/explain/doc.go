// Package explain says in the words of the overlay what becomes of a packet: it makes
// the packet that somebody describes, has flows/trace follow it over the hosts, and
// gives ports, networks, hosts, tables and features their names.
//
// It is pure: what is known of the overlay and what the switches hold is handed in, by
// whoever read it from a controller or from files. All of it may be wrong or hostile;
// it is bounded by what was read, and never makes it panic.
package explain
