package restyretry

import (
	"slices"
	"syscall"
)

// isTransientErrno knows the errors of Winsock that may go away. Package
// syscall has not all of them; the numbers are those of winsock2.h.
func isTransientErrno(err error) bool {
	errno, ok := err.(syscall.Errno)
	return ok && slices.Contains([]syscall.Errno{
		10050, // WSAENETDOWN
		10051, // WSAENETUNREACH
		10052, // WSAENETRESET
		10053, // WSAECONNABORTED
		10054, // WSAECONNRESET
		10060, // WSAETIMEDOUT
		10061, // WSAECONNREFUSED
		10064, // WSAEHOSTDOWN
		10065, // WSAEHOSTUNREACH
	}, errno)
}
