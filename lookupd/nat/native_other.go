//go:build !freebsd && !openbsd

// Where there is no such packet filter everything but the call itself still runs,
// with FreeBSD's layout, so that it can be tested.

package nat

import (
	"errors"
	"os"
)

var native = &freeBSD

// Device makes calls that fail with errors.ErrUnsupported.
func Device(*os.File) Kernel {
	return func(Call) error { return errors.ErrUnsupported }
}

func limit(int) error { return nil }
