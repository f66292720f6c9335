// Memory that runs out. This file owns who may have no more of it, and until when.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// bound is what keeps processes from more memory.
type bound interface {
	hold(pid int) error
	lift() error
}

// starve has no room get more memory than it has, as soon as it is there, until so many
// rooms have ended: by a limit of each process, which the kernel answers with an error, or
// by a control group, where it kills. The parent is left alone: it is the service manager
// that protects it.
func (s *story) starve(ts *testscript.TestScript, _ bool, args []string) error {
	if len(args) != 2 {
		return errTelling
	}
	times, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var b bound = memoryLimit{}
	if args[1] == "group" {
		if b, err = newMemoryGroup(); err != nil {
			return err
		}
	}
	ended := func() int { return strings.Count(s.gate.log(), "room ended unasked") }
	before, held := ended(), map[int]bool{}
	err = eventually("no room ends for want of memory", func() bool {
		for room := range family {
			pids, _ := s.processes(room) // none may be there just now
			for _, pid := range pids {
				if !held[pid] {
					held[pid] = b.hold(pid) == nil // it may have ended
				}
			}
		}
		return ended() >= before+times
	})
	since := time.Now()
	if err = errors.Join(err, b.lift(), s.people.moves()); err == nil {
		ts.Logf("%d rooms ended, mail flowed again after %v", ended()-before, time.Since(since).Round(time.Millisecond))
	}
	return err
}

// memoryLimit bounds each process for itself: none maps more.
type memoryLimit map[int]bool

func (l memoryLimit) hold(pid int) error {
	l[pid] = true
	return limit(pid, "as", "1")
}

func (l memoryLimit) lift() error {
	for pid := range l {
		if err := limit(pid, "as", ""); err != nil && !gone(pid) {
			return err
		}
	}
	return nil
}

// scarce is how much memory those in a group may get beyond what they had before.
const scarce = "4194304"

// memoryGroup bounds processes together (cgroups(7)).
type memoryGroup struct{ folder, home, most string }

// newMemoryGroup makes a group below ours, or beside it where ours may have none below.
func newMemoryGroup() (*memoryGroup, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	const root = "/sys/fs/cgroup"
	for _, v := range []struct{ name, folder, most string }{
		{`memory`, root + "/memory", "memory.limit_in_bytes"}, // version 1
		{``, root, "memory.max"},
	} {
		own := regexp.MustCompile(`(?m)^\d+:` + v.name + `:(/.*)$`).FindSubmatch(text)
		if own == nil {
			continue
		}
		home := v.folder + string(own[1])
		for at := home; strings.HasPrefix(at, v.folder); at = filepath.Dir(at) {
			var folder string
			if folder, err = os.MkdirTemp(at, "gated-"); err != nil {
				continue
			}
			g := &memoryGroup{folder, filepath.Join(home, "cgroup.procs"), filepath.Join(folder, v.most)}
			if err = g.set(scarce); err == nil {
				return g, nil
			}
			g.remove()
		}
	}
	return nil, fmt.Errorf("no control group bounds memory: %w", err)
}

// set writes the bound, which is a file that the kernel makes.
func (g *memoryGroup) set(most string) error {
	f, err := os.OpenFile(g.most, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(most)
	return errors.Join(err, f.Close())
}

func (g *memoryGroup) hold(pid int) error {
	return os.WriteFile(filepath.Join(g.folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

func (g *memoryGroup) lift() error {
	all := "max"
	if strings.HasSuffix(g.most, "_in_bytes") {
		all = "-1"
	}
	if err := g.set(all); err != nil {
		return err
	}
	return eventually("the control group stays", func() bool {
		pids, _ := os.ReadFile(filepath.Join(g.folder, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(pids)) {
			os.WriteFile(g.home, []byte(pid), 0)
		}
		return g.remove() == nil
	})
}

func (g *memoryGroup) remove() error { return os.Remove(g.folder) }
