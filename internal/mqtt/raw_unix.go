//go:build unix

package mqtt

import (
	"io"
	"os"
	"syscall"
)

// attempt reads from a TCP socket, and gives the buffer back before the runtime waits for the socket to become readable.
func (i *input) attempt(fd uintptr) bool {
	i.borrow()
	for {
		n, err := syscall.Read(int(fd), i.store[i.w:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			i.giveBack()
			return false
		case err != nil:
			i.err = os.NewSyscallError("read", err)
		case n == 0:
			i.err = io.EOF
		default:
			i.w += n
			i.received(n)
		}
		return true
	}
}

const rawReads = true
