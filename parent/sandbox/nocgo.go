//go:build !cgo

package sandbox

const linkedWithCgo = false
