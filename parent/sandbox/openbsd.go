// What OpenBSD makes of the words: the files that are left, then the calls. This file
// owns both and their order. The system calls are given to it, so that any system can
// tell which ones OpenBSD would hear.

package sandbox

import "fmt"

// OpenBSD are the system calls with which a process there gives things up, for good.
type OpenBSD struct {
	Unveil      func(path, permissions string) error // unveil(2)
	UnveilBlock func() error                         // the same with nothing: no more of them
	Pledge      func(promises string) error          // pledge(2)
}

// Confine leaves what r says. The process is where it will live, and who it will be.
func (o *OpenBSD) Confine(r *Rights) error {
	// Who promises nothing about paths has none, unveiled or not.
	if may := r.permissions(); may != "" {
		if err := o.Unveil(".", may); err != nil {
			return fmt.Errorf("unveil: %w", err)
		}
		if err := o.UnveilBlock(); err != nil {
			return fmt.Errorf("unveil: %w", err)
		}
	}
	if err := o.Pledge(r.promises()); err != nil {
		return fmt.Errorf("pledge: %w", err)
	}
	return nil
}

// permissions are those of unveil(2) below the working directory. Who connects to a
// UNIX socket writes it.
func (r *Rights) permissions() (all string) {
	if r.has("rpath") || r.has("rpath-stat") {
		all += "r"
	}
	if r.has("wpath") || r.has("unix-connect") {
		all += "w"
	}
	if r.has("cpath") {
		all += "c"
	}
	return all
}
