//go:build !unix

package node

import "os"

// lockFolder opens the data folder; without flock it cannot keep a second node
// out.
func lockFolder(dir string) (*os.File, error) { return os.Open(dir) }
