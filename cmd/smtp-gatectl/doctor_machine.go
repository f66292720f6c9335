// Probes of the machine: the kernel, limits, disks and the clock.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

func probeKernel(_ context.Context, p *patient) []result {
	const id = "kernel"
	have, lacks := sandbox.Layers("")
	if p.status != nil { // what it says may be of a system that is not ours, as in a container
		lacks = p.status.Lacks
	}
	if len(lacks) > 0 {
		return []result{warn(id, "use a newer kernel, or one that has it switched on", "lacks %s", strings.Join(lacks, ", "))}
	}
	return []result{green(id, "has %s", strings.Join(have, ", "))}
}

// readNumber reads a file of /proc/sys that holds one.
func readNumber(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// sysctl is the folder of the kernel's values.
const sysctl = "/proc/sys"

func probeFiles(_ context.Context, p *patient) []result {
	most := uint64(0)
	if p.status != nil && p.temporary == nil && runtime.GOOS == "linux" {
		for _, m := range p.status.Rooms {
			if m.Name == imsg.Session.String() && m.State == imsg.Running.String() {
				var have unix.Rlimit
				if err := prlimit(m.PID, &have); err == nil {
					most = uint64(have.Cur)
				}
			}
		}
	}
	how := "the workers have"
	if most == 0 {
		var have unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err != nil {
			return []result{skip("limit-files", "%v", err)}
		}
		most, how = uint64(have.Max), "the limit here is"
		if n, err := readNumber(filepath.Join(sysctl, "fs/nr_open")); err == nil && p.root {
			most, how = n, "fs.nr_open is" // root may raise its limit so far
		}
	}
	return []result{judgeFiles("limit-files", p.site().SessionFiles(), most, p.MaxConnections, how)}
}

func judgeFiles(id string, need, most uint64, connections int, how string) result {
	if most < need {
		return warn(id, "raise the limit (LimitNOFILE, fs.nr_open), or lower {max_connections}",
			"%d connections need %d descriptors in a worker, and %s %d", connections, need, how, most)
	}
	return green(id, "%d connections need %d descriptors, %s %d", connections, need, how, most)
}

// queueLeast is how many may wait at a listener, whatever is said.
const queueLeast = 128

func probeQueue(_ context.Context, p *patient) []result {
	const id = "limit-queue"
	n, err := readNumber(filepath.Join(sysctl, "net/core/somaxconn"))
	if err != nil {
		return []result{skip(id, "this system does not tell")}
	}
	return []result{judgeQueue(id, p.Called("connect_queue"), uint64(max(p.ConnectQueue, queueLeast)), n)}
}

func judgeQueue(id, option string, want, most uint64) result {
	if most < want {
		return warn(id, fmt.Sprintf("raise it: sysctl -w net.core.somaxconn=%d", want), "net.core.somaxconn is %d, below the %d of %s", most, want, option)
	}
	return green(id, "net.core.somaxconn is %d, %s %d", most, option, want)
}

func probeConntrack(_ context.Context, p *patient) []result {
	const id = "limit-conntrack"
	if p.Mode.Fixed() || p.Mode.Remote() {
		return []result{skip(id, "mode %s needs none", p.Mode)}
	}
	most, err := readNumber(filepath.Join(sysctl, "net/netfilter/nf_conntrack_max"))
	if err != nil {
		return []result{skip(id, "connections are not tracked here")}
	}
	used, _ := readNumber(filepath.Join(sysctl, "net/netfilter/nf_conntrack_count"))
	return []result{judgeConntrack(id, used, most, uint64(p.MaxConnections))}
}

// judgeConntrack: a session is two connections, and one that has ended is remembered for
// two minutes (nf_conntrack_tcp_timeout_time_wait): the same again.
func judgeConntrack(id string, used, most, sessions uint64) result {
	const remedy = "raise net.netfilter.nf_conntrack_max"
	need := 4 * sessions
	switch {
	case used >= most/10*9:
		return warn(id, remedy, "%d of %d connections are remembered: new ones are about to be dropped", used, most)
	case most < need:
		return warn(id, remedy, "%d connections can be remembered, and %d sessions may take %d", most, sessions, need)
	}
	return green(id, "%d of %d connections are remembered", used, most)
}

// space is what is left of a disk.
type space struct {
	free, size   uint64 // octets; free to who is not root
	names, found uint64 // files that can be made, and all there can be; 0 of all: no limit
}

func probeDisks(_ context.Context, p *patient) (all []result) {
	message := uint64(max(p.ScanMaxSize, p.SpamMaxSize))
	for _, f := range []struct {
		name, path string
		octets     uint64 // of one file
	}{{"spool", p.Inside(p.SpoolPath), message}, {"locks", p.Inside(p.LockPath), 1 << 10}} {
		id := idOf("disk-FOLDER", f.name)
		at := f.path
		for at != "/" { // it may not be there yet
			if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			at = filepath.Dir(at)
		}
		s, err := spaceAt(at)
		if err != nil {
			if p.hidden(err) {
				all = append(all, skip(id, "only root can look: %v", err))
			} else {
				all = append(all, red(id, "see what is wrong with that disk", "%s: %v", at, err))
			}
			continue
		}
		all = append(all, judgeDisk(id, f.path, s, f.octets, uint64(p.MaxConnections)))
	}
	return all
}

// judgeDisk says whether there is room for files of a size, of which there may be many.
func judgeDisk(id, path string, s space, largest, most uint64) result {
	const remedy = "make room on that disk, or take another"
	few := min(most, 16)
	switch {
	case s.free < largest:
		return red(id, remedy, "%s has %s left, and one file may take %s", path, octets(int64(s.free)), octets(int64(largest)))
	case s.found > 0 && s.names == 0:
		return red(id, remedy, "%s has no inode left: no file can be made", path)
	case s.free < few*largest:
		return warn(id, remedy, "%s has %s left, less than %d of the largest files", path, octets(int64(s.free)), few)
	case s.size > 0 && s.free < s.size/50:
		return warn(id, remedy, "%s has %s left, less than 2 %% of its disk", path, octets(int64(s.free)))
	case s.found > 0 && s.names < most:
		return warn(id, remedy, "%s has %d inodes left, and %d sessions may have a file each", path, s.names, most)
	}
	return green(id, "%s has %s left", path, octets(int64(s.free)))
}

func probeClock(context.Context, *patient) []result {
	return []result{judgeClock("clock", time.Now(), built())}
}

// built is when this program was made, as far as it is known: when its sources were
// committed, or when its file was written.
func built() time.Time {
	if t, err := time.Parse(time.RFC3339, version.Date()); err == nil {
		return t
	}
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(self); err == nil {
			return info.ModTime()
		}
	}
	return time.Time{}
}

func judgeClock(id string, now, made time.Time) result {
	// A day, for who builds elsewhere.
	if now.Before(made.Add(-24 * time.Hour)) {
		return red(id, "set the clock, as by NTP: locks, certificates and DNS go by it", "it is %s, before this program was made, at %s", stamp(now), stamp(made))
	}
	return green(id, "%s", stamp(now))
}
