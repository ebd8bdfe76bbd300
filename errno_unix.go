//go:build unix

package restyretry

import (
	"slices"
	"syscall"
)

// isTransientErrno knows the errors of connect(2), send(2) and recv(2) that may
// go away.
func isTransientErrno(err error) bool {
	errno, ok := err.(syscall.Errno)
	return ok && slices.Contains([]syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ENETRESET, syscall.EHOSTUNREACH, syscall.EHOSTDOWN,
	}, errno)
}
