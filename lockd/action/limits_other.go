//go:build !linux

package action

import "github.com/smtp-gated/smtp-gated/imsg"

// limits has nothing to bind another process with here: a script is bound by the
// login class of its user.
func limits(int, *imsg.ActionConfig) error { return nil }
