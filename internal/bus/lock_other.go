//go:build !unix

package bus

import (
	"os"
	"path/filepath"
)

// lockDir marks dir as used; without flock it cannot keep a second process out.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "bus.lock"), os.O_CREATE|os.O_RDWR, 0o600)
}
