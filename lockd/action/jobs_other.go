//go:build !linux

package action

import "os/exec"

// jobs are of no concern to us here: what a script leaves behind is init's.
type jobs struct{}

func (*jobs) adopt() (end func(), err error) { return func() {}, nil }
func (*jobs) start(script *exec.Cmd) error   { return script.Start() }
func (*jobs) wait(script *exec.Cmd) error    { return script.Wait() }
