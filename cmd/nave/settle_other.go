//go:build !unix

package main

// settle has nothing to ask for here.
func settle() {}
