//go:build !cgo

package sandbox

// LinkedWithCgo tells whether there may be threads that Go does not know of.
const LinkedWithCgo = false
