//go:build linux

package main

import (
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ident is what the helper calls a client.
func (v *visit) ident(client netip.Addr) string {
	if client.Is6() {
		return hex.EncodeToString(client.AsSlice())
	}
	return client.String()
}

// startHelper starts smtp-gate-helper on the router and returns how to end it.
func (l *lab) startHelper() (stop func()) {
	l.Helper()
	dir := l.TempDir()
	secret, said := filepath.Join(dir, "secret"), filepath.Join(dir, "stderr")
	if err := os.WriteFile(secret, []byte("4711\n"), 0o600); err != nil {
		l.Fatal(err)
	}
	stderr, err := os.Create(said)
	if err != nil {
		l.Fatal(err)
	}
	defer stderr.Close()
	var proxies []string
	for _, f := range labFamilies {
		proxies = append(proxies, f.gateway.String())
	}
	cmd := exec.Command(program("smtp-gate-helper"), "-v", "-a", strings.Join(proxies, ","), "-s", secret, "-u", "nobody")
	cmd.Stderr = stderr
	if err := l.router.enter(cmd.Start); err != nil {
		l.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			text, _ := os.ReadFile(said)
			l.Errorf("the helper: %v: %s", err, text)
		}
	}
	l.Cleanup(stop)
	if err := eventually("the helper does not listen", func() bool {
		text, _ := os.ReadFile(said)
		return strings.Contains(string(text), "listening")
	}); err != nil {
		text, _ := os.ReadFile(said)
		need(l, false, "connection tracking for the helper: "+string(text))
	}
	return stop
}
