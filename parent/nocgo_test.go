//go:build !cgo

package parent

const linkedWithCgo = false
