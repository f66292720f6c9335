package nat

import "golang.org/x/sys/unix"

var native = &openBSD

// The layout's address families are this system's, or this does not compile.
var (
	_ [unix.AF_INET - 2]struct{}   = [0]struct{}{}
	_ [unix.AF_INET6 - 24]struct{} = [0]struct{}{}
)

// limit does nothing: the word pf of pledge(2) allows lookups, and changes only
// through a descriptor that is open for writing.
func limit(int) error { return nil }
