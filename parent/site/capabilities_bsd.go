//go:build freebsd || openbsd

package site

// Capabilities is empty: here root's power is one piece.
var Capabilities []Capability
