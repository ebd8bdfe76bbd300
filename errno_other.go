//go:build !unix && !windows

package restyretry

// isTransientErrno knows nothing of this system's error numbers.
func isTransientErrno(error) bool { return false }
