// What the kernel tells of a room, where /proc is as Linux has it. This file owns what of it
// means what.

package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
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

// inspect returns what the kernel shows of a process, as far as we may look.
func inspect(pid int) (p process) {
	dir := fmt.Sprintf("/proc/%d", pid)
	root := ""
	p.UID, root = lookAt(pid)
	if text, err := os.ReadFile(dir + "/status"); err == nil {
		p.read(string(text), root)
	}
	if f, err := os.Open(dir + "/fd"); err == nil {
		p.Files = count(f)
		f.Close()
	}
	if text, err := os.ReadFile(dir + "/limits"); err == nil {
		p.MaxFiles = limit(string(text), "Max open files")
	}
	return p
}

// read takes what proc_pid_status(5) shows, of a process with that root directory. If that is
// empty, which is shown to root and the process's own user alone, nobody knows all layers.
func (p *process) read(text, root string) {
	layers := []string{}
	if root != "/" {
		layers = append(layers, "chroot")
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case key == "VmRSS":
			p.Memory = kilobytes(value)
		case key == "VmHWM":
			p.Peak = kilobytes(value)
		case key == "NoNewPrivs" && value == "1":
			layers = append(layers, "no_new_privs")
		case key == "Seccomp" && value == "2":
			layers = append(layers, seccomp)
		}
	}
	if root != "" {
		p.Layers = layers
	}
}

func kilobytes(value string) *int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 48)
	if err != nil {
		return nil
	}
	n <<= 10
	return &n
}

func count(dir *os.File) *int64 {
	n := int64(0)
	for {
		names, err := dir.Readdirnames(1 << 10)
		n += int64(len(names))
		if errors.Is(err, io.EOF) {
			return &n
		}
		if err != nil {
			return nil
		}
	}
}

// limit is the soft one of what /proc/PID/limits calls so.
func limit(text, name string) *int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			if words := strings.Fields(rest); len(words) > 0 {
				if n, err := strconv.ParseInt(words[0], 10, 52); err == nil {
					return &n
				}
			}
		}
	}
	return nil
}

// holder is the process, and the name of its program, that listens where somebody wants to;
// 0 if it cannot be told, as without root.
func holder(wanted netip.AddrPort) (pid int, name string) {
	sockets := map[string]bool{} // as links of /proc/PID/fd name them
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			const listens = "0A"
			words := strings.Fields(line)
			if len(words) < 10 || words[3] != listens {
				continue
			}
			if at, err := parseProcAddress(words[1]); err == nil && collide(at, wanted) {
				sockets["socket:["+words[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return 0, ""
	}
	processes, _ := os.ReadDir("/proc")
	for _, e := range processes {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := "/proc/" + e.Name()
		files, _ := os.ReadDir(dir + "/fd")
		for _, f := range files {
			if to, _ := os.Readlink(dir + "/fd/" + f.Name()); sockets[to] && (pid == 0 || n < pid) {
				comm, _ := os.ReadFile(dir + "/comm")
				pid, name = n, strings.TrimSpace(string(comm))
			}
		}
	}
	return pid, name
}

// collide tells whether who listens at one address keeps others from another.
func collide(held, wanted netip.AddrPort) bool {
	a, b := held.Addr(), wanted.Addr()
	return held.Port() == wanted.Port() && (a == b || a.IsUnspecified() && (a.Is6() || b.Is4()) || b.IsUnspecified() && a.Is4() == b.Is4())
}

// parseProcAddress reads an address as proc_pid_net(5) has it: numbers of four octets in the
// machine's order, and a port.
func parseProcAddress(text string) (a netip.AddrPort, err error) {
	host, port, _ := strings.Cut(text, ":")
	octets, err := hex.DecodeString(host)
	if err != nil {
		return a, err
	}
	for group := range slices.Chunk(octets, 4) {
		if len(group) == 4 {
			binary.BigEndian.PutUint32(group, binary.NativeEndian.Uint32(group))
		}
	}
	n, err := strconv.ParseUint(port, 16, 16)
	addr, ok := netip.AddrFromSlice(octets)
	if err != nil || !ok {
		return a, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}
