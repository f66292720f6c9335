// How a program was linked. This file owns that what is linked with cgo holds no privilege.

package sandbox

import (
	"errors"
	"os"
)

// CheckLinkage tells whether this program may have the privileges that it has. Linked with
// cgo, as go install does it where there is a C compiler, it has threads that Go does not
// know of, and what it confines must be allowed all that a C library calls. Such a program
// is for tests and for who has no privilege.
func CheckLinkage() error {
	if LinkedWithCgo && privileged() {
		return errors.New("linked with cgo it must not run with privileges: build it without, by make or by " +
			"CGO_ENABLED=0 go install github.com/smtp-gated/smtp-gated/cmd/...@latest")
	}
	return nil
}

// privileged tells whether this process may more than any user. Who cannot tell counts as
// one that does.
func privileged() bool {
	have, err := Capabilities()
	return os.Geteuid() == 0 || have != 0 || err != nil
}
