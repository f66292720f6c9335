//go:build !linux

package heir

import "os/exec"

// asSibling leaves a command our child: there is no service manager here that minds.
func asSibling(cmd *exec.Cmd) (wait func() error) { return cmd.Wait }
