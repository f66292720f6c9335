package process

import "encoding/binary"

// fscale is where the scale stands in struct loadavg of sys/resource.h, after three
// fixed-point numbers of 4 octets, and the size of both, for a long of as many octets.
func fscale(long int) (at, size int) {
	at = (3*4 + long - 1) / long * long
	return at, at + long
}

// loadAverage reads the first number of b, a struct loadavg with a long of as many
// octets: 0 if there is none.
func loadAverage(b []byte, long int) float64 {
	at, size := fscale(long)
	if len(b) < size {
		return 0
	}
	n, scale := binary.NativeEndian.Uint32(b), uint64(0)
	if long == 8 {
		scale = binary.NativeEndian.Uint64(b[at:])
	} else {
		scale = uint64(binary.NativeEndian.Uint32(b[at:]))
	}
	if scale == 0 {
		return 0
	}
	return float64(n) / float64(scale)
}
