// What the kernel tells of a room, where /proc is as Linux has it.

package main

import (
	"fmt"
	"os"
	"syscall"
)

// lookAt returns a process's effective user, nil if it cannot be told, and its
// root directory, empty if it cannot be told.
func lookAt(pid int) (uid *int, root string) {
	dir := fmt.Sprintf("/proc/%d", pid)
	root, _ = os.Readlink(dir + "/root")
	info, err := os.Stat(dir + "/task") // owned by the effective user, whatever dumpable says
	if err != nil {
		return nil, root
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		n := int(s.Uid)
		uid = &n
	}
	return uid, root
}
