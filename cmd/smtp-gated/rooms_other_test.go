//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

// inspect has no /proc to look at.
func (g *gate) inspect([]member) error { return nil }

// listening cannot be told here.
func (g *gate) listening([]member) bool { return false }

// network can be made on Linux only.
func (s *story) network(*testscript.TestScript, bool, []string) error {
	need(s.t, false, "network namespaces")
	return nil
}
