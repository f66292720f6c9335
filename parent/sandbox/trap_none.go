//go:build !linux || (!amd64 && !arm64)

package sandbox

// No answer of the kernel names a call here.
const callRegister = ""

var hostile, hostileHere map[string]uint32
