// Which layers of the sandbox a kernel has. This file owns what is said of that, and
// the older kernels that tests play.

package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is what of the kernel there is may be used.
type kernel struct {
	landlock int  // newest version of its interface
	errata   int  // of it that are mended
	seccomp  bool // filters of system calls
}

// newest has all that we use.
var newest = kernel{landlock: 7, errata: ^0, seccomp: true}

// played are kernels that administrators have, and ones that lack a layer.
var played = map[string]kernel{
	"none":       {},                                      // built without Landlock and seccomp
	"no-seccomp": {landlock: 7, errata: ^0},               //
	"5.10":       {seccomp: true},                         // Debian 11
	"6.1":        {landlock: 2, seccomp: true},            // Debian 12
	"6.8":        {landlock: 4, seccomp: true},            // Ubuntu 24.04
	"6.12":       {landlock: 6, errata: 1, seccomp: true}, // Debian 13 before erratum 2 was mended
}

// Kernels are those that Rights can play.
var Kernels = slices.Sorted(maps.Keys(played))

func playedKernel(name string) kernel {
	if k, ok := played[name]; ok {
		return k
	}
	return newest
}

// filters tells whether the kernel takes a filter of system calls of ours.
func (k kernel) filters() bool {
	answer := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&answer)))
	return k.seccomp && machine != 0 && errno == 0
}

// Layers names what holds a room of this build on this kernel, and what of it the
// kernel lacks. played is as in Rights.
func Layers(played string) (have, missing []string) {
	k := playedKernel(played)
	have = []string{"users", "chroot", "capabilities", "no_new_privs"}
	layer := func(there bool, name, lacks string) {
		if there {
			have = append(have, name)
		} else {
			missing = append(missing, lacks)
		}
	}
	layer(k.filters(), "seccomp", LacksFilters)
	v := k.landlockVersion()
	layer(v >= knowsFiles, fmt.Sprintf("landlock-%d", v), LacksLandlock)
	if v >= knowsFiles {
		layer(v >= knowsTruncate, "truncate", "Landlock 3 (Linux 6.2: the length of files)")
		layer(v >= knowsPorts, "ports", "Landlock 4 (Linux 6.7: TCP ports)")
		layer(v >= knowsScopes, "abstract-sockets", "Landlock 6 (Linux 6.12: abstract UNIX sockets)")
		layer(k.signalsScoped(), "signals", "Landlock 6 with erratum 2 mended (Linux 6.15: signals to other processes)")
	}
	return have, missing
}
