package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// inspect looks at each room in /proc: who it is, where it lives, what it may do,
// and what it holds open.
func (g *gate) inspect(all []member) error {
	var errs []error
	for _, m := range all {
		r, err := g.look(m)
		if err != nil {
			return err
		}
		for _, err := range []error{r.identity(), r.place(), r.powers(), r.descriptors()} {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s (%d): %w", m.Room, m.PID, err))
			}
		}
	}
	return errors.Join(errs...)
}

// specimen is a room as /proc shows it.
type specimen struct {
	*gate
	member
	dir    string
	status map[string]string
}

func (g *gate) look(m member) (*specimen, error) {
	r := &specimen{gate: g, member: m, dir: fmt.Sprintf("/proc/%d", m.PID), status: map[string]string{}}
	text, err := os.ReadFile(r.dir + "/status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		r.status[key] = strings.Join(strings.Fields(value), " ")
	}
	return r, nil
}

func (r *specimen) want(key, want string) error {
	if got := r.status[key]; got != want {
		return fmt.Errorf("%s is %q, want %q", key, got, want)
	}
	return nil
}

// homes are what the kernel calls the rooms, who they run as, and where.
var homes = map[string]struct{ comm, user, root, cwd string }{
	"session": {"smtp-gated-sess", "nobody", "spool", "spool"},
	"lookupd": {"smtp-gated-look", "daemon", "run/empty", "run/empty"},
	"scand":   {"smtp-gated-scan", "games", "run/empty", "run/empty"},
	"lockd":   {"smtp-gated-lock", "man", "lock", "lock"},
	"action":  {"smtp-gated-acti", "mail", "", "spool"},
	"keys":    {"smtp-gated-keys", "sys", "run/empty", "run/empty"},
}

func (r *specimen) identity() error {
	errs := []error{r.want("Name", homes[r.Room].comm)}
	uid, gid, groups := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid()), ""
	switch {
	case r.rooted:
		u, err := user.Lookup(homes[r.Room].user)
		if err != nil {
			return err
		}
		uid, gid, groups = u.Uid, u.Gid, u.Gid
	case r.others():
		uid, gid = strconv.Itoa(unprivileged), strconv.Itoa(unprivileged)
	default:
		groups = r.status["Groups"] // ours, whatever they are
	}
	four := func(n string) string { return strings.Join(slices.Repeat([]string{n}, 4), " ") }
	return errors.Join(append(errs, r.want("Uid", four(uid)), r.want("Gid", four(gid)), r.want("Groups", groups))...)
}

func (r *specimen) place() error {
	if os.Geteuid() != 0 {
		return nil // the kernel tells root alone
	}
	home := homes[r.Room]
	root, cwd := "/", r.path(home.cwd)
	if r.rooted && home.root != "" {
		root = r.path(home.root)
	}
	for link, want := range map[string]string{"root": root, "cwd": cwd} {
		if got, err := os.Readlink(filepath.Join(r.dir, link)); err != nil || got != want {
			return fmt.Errorf("%s is %q, %v, want %s", link, got, err, want)
		}
	}
	return nil
}

func (r *specimen) powers() error {
	const none = "0000000000000000"
	errs := []error{r.want("CapInh", none), r.want("CapPrm", none), r.want("CapEff", none), r.want("CapAmb", none)}
	if r.Room == "action" {
		// A script may use sudo, unless nobody may whom we start.
		bound, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if err != nil {
			return err
		}
		return errors.Join(append(errs, r.want("NoNewPrivs", strconv.Itoa(bound)))...)
	}
	if r.rooted {
		errs = append(errs, r.want("CapBnd", none))
	}
	limits, err := os.ReadFile(r.dir + "/limits")
	if err != nil {
		return err
	}
	// limit_core_size, 64 MiB unless it is configured, which it is (gate.house).
	if !matches(`^Max core file size +0 +0 `, string(limits)) {
		errs = append(errs, fmt.Errorf("limit_core_size is not in force: %s", limits))
	}
	return errors.Join(append(errs, r.want("NoNewPrivs", "1"))...)
}

// holdings counts a room's sockets beside its link to the parent: links to other
// rooms, and lockd's control sockets. Workers have listeners too.
var holdings = map[string]int{"session": 3, "lookupd": 2, "scand": 2, "lockd": 2 + 1 + 2, "action": 1, "keys": 2 + 1}

func (r *specimen) sockets() int {
	n := 1 + holdings[r.Room]
	if r.Room == "session" {
		n += len(r.addresses())
	}
	if r.keyed && (r.Room == "session" || r.Room == "lockd") {
		n++
	}
	return n
}

// descriptors compares what a room holds with what it was given. Those who
// asked lockd a moment ago may still be on their way out.
func (r *specimen) descriptors() (err error) {
	if os.Geteuid() != 0 {
		return nil // the kernel tells root alone
	}
	if eventually("", func() bool { err = r.holds(); return err == nil }) == nil {
		return nil
	}
	return err
}

func (r *specimen) holds() error {
	entries, err := os.ReadDir(r.dir + "/fd")
	if err != nil {
		return err
	}
	got := map[string]int{}
	var all []string
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(r.dir, "fd", e.Name()))
		if err != nil {
			continue
		}
		all = append(all, e.Name()+"="+to)
		kind, _, _ := strings.Cut(to, ":[")
		if (kind == "/dev/null") != (e.Name() == "0" || e.Name() == "1") || (kind == "pipe") != (e.Name() == "2") {
			return fmt.Errorf("descriptor %s is %s", e.Name(), to)
		}
		got[kind]++
	}
	want := map[string]int{
		"/dev/null": 2, "pipe": 1, "socket": r.sockets(), r.path("log"): 1,
		"anon_inode": 2, // the runtime's eventpoll and eventfd
	}
	switch r.Room {
	case "session", "lockd", "scand":
		want["anon_inode"]++ // its loop's
	}
	if r.Room == "lockd" {
		want["/memfd:ledger (deleted)"] = 1
		want[r.path("lock")] = 1
		want[r.path("lock.exempt")] = 1
	}
	// The sockets of a worker that died were taken over by another, for good.
	if adopted := got["socket"] - want["socket"]; r.Room == "session" && adopted > 0 && adopted <= len(r.addresses()) {
		if s, err := r.ask(); err == nil && s.Crashes > 0 {
			want["socket"] += adopted
		}
	}
	for kind, n := range want {
		if got[kind] != n {
			return fmt.Errorf("it holds %d of %s, want %d, in all: %s", got[kind], kind, n, strings.Join(all, " "))
		}
		delete(got, kind)
	}
	if len(got) > 0 {
		return fmt.Errorf("it holds besides: %v", got)
	}
	return nil
}

// listening tells whether one of the workers still shares a listener with the
// parent.
func (g *gate) listening(workers []member) bool {
	shared := sockets(g.pid)
	for _, m := range workers {
		if m.Room != "session" {
			continue
		}
		for s := range sockets(m.PID) {
			if shared[s] {
				return true
			}
		}
	}
	return false
}

func sockets(pid int) map[string]bool {
	all := map[string]bool{}
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, "socket:") {
			all[to] = true
		}
	}
	return all
}
