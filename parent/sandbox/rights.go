// What is left to a process, in words that mean the same on every system. This file
// owns the words; what a system makes of them stands in its own files.

package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Rights are what Confine leaves.
type Rights struct {
	// Words are those of pledge(2), one may be narrowed by what follows a hyphen,
	// which pledge does not know: see Words. None at all, not even stdio, are those
	// of a process that is not confined.
	Words []string

	// Connect are the TCP ports that may be connected to, Bind those that a socket
	// may be bound to, 0 for one that the kernel chooses; nil: any. Both narrow what
	// the words allow.
	Connect, Bind []uint16

	// Capabilities is a bit for each of capabilities(7) to keep, if it is there.
	Capabilities uint32

	// Kernel plays an older Linux, for tests: nothing is used that it lacks. One of
	// Kernels, empty: the one there is.
	Kernel string
}

// Words are all there are, with what each allows beside what stdio does.
var Words = []struct{ Word, Allows string }{
	{"stdio", "memory, time, threads, signals to itself, and what one does with descriptors one has"},
	{"stdio-sync", "changes the length of files, and has them written to the disk"},
	{"stdio-splice", "moves octets between sockets without reading them"},
	{"recvfd", "takes descriptors"},
	{"sendfd", "sends descriptors"},
	{"rpath", "reads files and folders"},
	{"rpath-stat", "asks what a file or folder is, and finds none to open"},
	{"wpath", "writes files"},
	{"cpath", "creates, renames and removes files"},
	{"flock", "locks files"},
	{"unix-accept", "accepts on UNIX sockets"},
	{"unix-connect", "connects to UNIX sockets"},
	{"inet-serve", "accepts on sockets"},
	{"inet-answer", "receives datagrams, and answers any address"},
	{"inet-tcp", "connects TCP sockets"},
	{"inet-udp", "asks over UDP"},
	{"inet-bind", "chooses the address that it connects from"},
	{"pf", "asks the packet filter's device"},
	{"proc", "starts processes and ends them"},
	{"exec", "runs programs"},
}

// promises returns the words that pledge(2) knows.
func (r *Rights) promises() string {
	var all []string
	for _, word := range r.Words {
		known, _, _ := strings.Cut(word, "-")
		if !slices.Contains(all, known) {
			all = append(all, known)
		}
	}
	return strings.Join(all, " ")
}

// check tells whether each word, and the kernel, is one there is.
func (r *Rights) check() error {
	for _, word := range r.Words {
		known := false
		for _, w := range Words {
			known = known || w.Word == word
		}
		if !known {
			return fmt.Errorf("no word %q", word)
		}
	}
	if r.Kernel != "" && !slices.Contains(Kernels, r.Kernel) {
		return fmt.Errorf("no kernel %q can be played", r.Kernel)
	}
	return nil
}

func (r *Rights) has(word string) bool { return slices.Contains(r.Words, word) }

// opens tells whether any file can be opened.
func (r *Rights) opens() bool { return r.has("rpath") || r.has("wpath") || r.has("cpath") }

// Confine leaves this process, all of its threads, what r says, for good. After an
// error it must end. Of what the kernel lacks Layers tells.
func Confine(r *Rights) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := lowerLimit(unix.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("no core dumps: %w", err)
	}
	if err := setDumpable(false); err != nil {
		return err
	}
	if err := dropCapabilities(r.Capabilities); err != nil {
		return err
	}
	if err := r.fence(); err != nil {
		return err
	}
	return r.seal()
}
