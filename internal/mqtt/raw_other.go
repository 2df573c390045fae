//go:build !unix

package mqtt

// attempt is not used where sockets cannot be read directly.
func (i *input) attempt(uintptr) bool { return true }

const rawReads = false
