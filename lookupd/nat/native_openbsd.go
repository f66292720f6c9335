package nat

import (
	"os"

	"golang.org/x/sys/unix"
)

var native = &openBSD

// The layout's address families are this system's, or this does not compile.
var (
	_ [unix.AF_INET - 2]struct{}   = [0]struct{}{}
	_ [unix.AF_INET6 - 24]struct{} = [0]struct{}{}
)

// Limit leaves device no other use than lookups. Here pledge(2) does that.
func Limit(*os.File) error { return nil }
