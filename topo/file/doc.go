// Package file reads and writes the topology file: one YAML document that is the
// whole intent. Reading is strict, and every mistake is reported at its line and
// column, all of them at once.
//
// The input is untrusted. Its size and nesting are bounded before anything is built
// from it, and anchors, aliases, merge keys, tags and directives are refused.
package file
