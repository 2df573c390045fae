//go:build unix

package main

import "golang.org/x/sys/unix"

// settle has the system write what earlier measurements left behind, so that
// the next one has the disk to itself.
func settle() { unix.Sync() }
