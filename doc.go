// Package nave holds the nouns of the hub (identity, message, twin, command,
// call, event) and every rule about them that needs no input or output:
// syntax of ids, sizes, merging, limits, partitions. Everything else lives in
// internal/ and is described in ARCHITECTURE.md.
package nave
