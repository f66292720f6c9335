package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// network gives the rest of the story a network of its own, with addresses that
// are not this machine's. What a story opens and starts, it does on the goroutine it
// is told on; that keeps its thread from here on, and the network ends with it.
func (s *story) network(_ *testscript.TestScript, _ bool, args []string) error {
	need(s.t, os.Geteuid() == 0, "root, for a network namespace")
	ip, err := exec.LookPath("ip")
	need(s.t, err == nil, "the program ip")
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		need(s.t, false, "network namespaces: "+err.Error())
	}
	words := [][]string{{"link", "set", "lo", "up"}}
	for _, a := range args {
		words = append(words, []string{"addr", "add", a, "dev", "lo"})
	}
	for _, w := range words {
		if out, err := exec.Command(ip, w...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %q: %w: %s", w, err, out)
		}
	}
	return nil
}
