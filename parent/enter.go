// What a room does before anything else: it goes into its sandbox. This file
// owns the order of the steps. It runs in the room's process, before the room
// has read one byte from anybody; all it knows comes as arguments.

package parent

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// quarters is where a room lives and as whom.
type quarters struct {
	room   imsg.Room
	root   string // becomes / if chroot, else only the working directory
	chroot bool
	nofile uint64 // 0: as it is
	core   int64  // largest core dump, -1: as it is
	file   int64  // largest file, -1: as it is
	nice   int    // as setpriority(2), 0: as it is
	who    identity
}

// flags binds q to the arguments in which it passes the exec.
func (q *quarters) flags() *flag.FlagSet {
	f := flag.NewFlagSet("room", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the error says it
	f.StringVar(&q.root, "root", "", "")
	f.BoolVar(&q.chroot, "chroot", false, "")
	f.Uint64Var(&q.nofile, "nofile", 0, "")
	f.Int64Var(&q.core, "core", -1, "")
	f.Int64Var(&q.file, "file", -1, "")
	f.IntVar(&q.nice, "nice", 0, "")
	f.IntVar(&q.who.uid, "uid", -1, "")
	f.IntVar(&q.who.gid, "gid", -1, "")
	f.Func("group", "", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 31)
		q.who.groups = append(q.who.groups, int(n))
		return err
	})
	return f
}

// args are the arguments that parseQuarters reads back.
func (q *quarters) args() []string {
	a := []string{q.room.String(), "-root", q.root}
	if q.chroot {
		a = append(a, "-chroot")
	}
	if q.nofile > 0 {
		a = append(a, "-nofile", strconv.FormatUint(q.nofile, 10))
	}
	if q.core >= 0 {
		a = append(a, "-core", strconv.FormatInt(q.core, 10))
	}
	if q.file >= 0 {
		a = append(a, "-file", strconv.FormatInt(q.file, 10))
	}
	if q.nice != 0 {
		a = append(a, "-nice", strconv.Itoa(q.nice))
	}
	if q.who.uid >= 0 {
		a = append(a, "-uid", strconv.Itoa(q.who.uid), "-gid", strconv.Itoa(q.who.gid))
	}
	for _, g := range q.who.groups {
		a = append(a, "-group", strconv.Itoa(g))
	}
	return a
}

func parseQuarters(args []string) (*quarters, error) {
	if len(args) == 0 {
		return nil, errors.New("no room is named")
	}
	r, ok := imsg.ParseRoom(args[0])
	if !ok || row(r) == nil {
		return nil, fmt.Errorf("no room is called %q", args[0])
	}
	q := &quarters{room: r}
	f := q.flags()
	if err := f.Parse(args[1:]); err != nil {
		return nil, err
	}
	if f.NArg() > 0 || !strings.HasPrefix(q.root, "/") || (q.who.uid < 0) != (q.who.gid < 0) {
		return nil, errors.New("the arguments make no sense")
	}
	return q, nil
}

// Enter takes this process into the room that args, what followed -x, describe,
// and returns the room's link to the parent. After an error the process must end.
func Enter(args []string) (imsg.Room, *os.File, error) {
	q, err := parseQuarters(args)
	if err != nil {
		return 0, nil, fmt.Errorf("enter: %w", err)
	}
	if err := q.enter(); err != nil {
		return 0, nil, fmt.Errorf("enter %s: %w", q.room, err)
	}
	return q.room, os.NewFile(3, "link to parent"), nil
}

func (q *quarters) enter() error {
	spec := row(q.room)
	setName(spec.comm)
	beDeaf()
	unix.CloseOnExec(3)
	if q.nofile > 0 {
		if err := setLimit(unix.RLIMIT_NOFILE, q.nofile); err != nil {
			return fmt.Errorf("limit of %d descriptors: %w", q.nofile, err)
		}
	}
	if err := lowerLimit(unix.RLIMIT_CORE, q.core); err != nil {
		return fmt.Errorf("limit core dumps to %d: %w", q.core, err)
	}
	if err := lowerLimit(unix.RLIMIT_FSIZE, q.file); err != nil {
		return fmt.Errorf("limit files to %d: %w", q.file, err)
	}
	if q.nice != 0 {
		if err := setPriority(q.nice); err != nil {
			return fmt.Errorf("priority %d: %w", q.nice, err)
		}
	}
	// The time zone's file is out of reach after chroot.
	_, _ = time.Now().Zone()

	root := q.root
	if q.chroot {
		if err := unix.Chroot(root); err != nil {
			return fmt.Errorf("chroot to %s: %w", root, err)
		}
		root = "/"
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("work in %s: %w", q.root, err)
	}
	if !spec.scripts {
		if err := giveUpFuture(); err != nil {
			return err
		}
	}
	if q.who.uid >= 0 {
		if err := q.who.become(); err != nil {
			return err
		}
	}
	return giveUpPresent(spec.scripts)
}

// beDeaf keeps a signal that was meant for the parent, but sent to all who bear
// the name or to the whole control group, from ending sessions. A handler, unlike
// SIG_IGN, does not go on to a script. SIGQUIT still shows where a room hangs. A
// file that meets its limit is an error of write(2), no more.
func beDeaf() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGXFSZ)
}

// become changes to the identity for good.
func (i identity) become() error {
	if err := setGroups(append([]int{i.gid}, i.groups...)); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := setGID(i.gid); err != nil {
		return fmt.Errorf("set group %d: %w", i.gid, err)
	}
	if err := setUID(i.uid); err != nil {
		return fmt.Errorf("set user %d: %w", i.uid, err)
	}
	return i.verify()
}

// verify makes sure that there is no way back.
func (i identity) verify() error {
	if os.Getuid() != i.uid || os.Geteuid() != i.uid || os.Getgid() != i.gid || os.Getegid() != i.gid {
		return fmt.Errorf("the kernel says we are still user %d group %d", os.Geteuid(), os.Getegid())
	}
	have, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("get groups: %w", err)
	}
	for _, g := range have {
		if g != i.gid && !slices.Contains(i.groups, g) {
			return fmt.Errorf("group %d is still ours", g)
		}
	}
	if i.uid != 0 && setUID(0) == nil {
		return fmt.Errorf("user 0 could be regained")
	}
	if i.uid != 0 && i.gid != 0 && setGID(0) == nil {
		return fmt.Errorf("group 0 could be regained")
	}
	return nil
}

func setLimit(which int, n uint64) error {
	var l unix.Rlimit
	setRlimit(&l, n)
	return unix.Setrlimit(which, &l)
}

// lowerLimit sets a limit, or leaves a lower one that holds already. A negative n
// is none.
func lowerLimit(which int, n int64) error {
	if n < 0 {
		return nil
	}
	var have unix.Rlimit
	if err := unix.Getrlimit(which, &have); err != nil {
		return err
	}
	return setLimit(which, min(uint64(n), uint64(have.Max)))
}
