// Package sandbox is where a process goes before it has read one octet from
// anybody: a root of its own, a user of its own, limits, no privilege. Spec says
// it for a room and passes the exec as arguments; Confine closes what is left to a
// process that has opened all it will ever need. It imports nothing of ours, so
// that the smallest program can use it.
//
// This file owns the order of the steps.
package sandbox

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a kernel of Linux lacks that has no Landlock, or no filters, as Layers calls it.
const (
	LacksLandlock = "Landlock (Linux 5.13: files outside a room's folder)"
	LacksFilters  = "seccomp (filters of system calls for " + runtime.GOARCH + ")"
)

// Spec is where a process lives, as whom, and within which limits. New makes one
// that changes nothing.
type Spec struct {
	Name     string   // in ps and top, 15 octets at most; empty: as it is
	RootDir  string   // becomes / with Chroot, else only the working directory; absolute
	Chroot   bool     // needs root
	MaxFiles uint64   // descriptors (RLIMIT_NOFILE), 0: as it is
	CoreSize int64    // largest core dump in octets (RLIMIT_CORE), -1: as it is
	FileSize int64    // largest file in octets (RLIMIT_FSIZE), -1: as it is
	Nice     int      // as setpriority(2) has it, 0: as it is
	Identity Identity // Unchanged: as it is
	Dumps    bool     // it may leave a core dump, and be traced
	Rights            // none for what starts programs of others: those inherit what binds it, and may gain a privilege, as sudo does
}

// New returns a Spec that changes nothing.
func New() *Spec { return &Spec{CoreSize: -1, FileSize: -1, Identity: Unchanged} }

// flags binds s to the arguments in which it passes the exec.
func (s *Spec) flags() *flag.FlagSet {
	f := flag.NewFlagSet("room", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the error says it
	f.StringVar(&s.Name, "name", "", "")
	f.StringVar(&s.RootDir, "root", "", "")
	f.BoolVar(&s.Chroot, "chroot", false, "")
	f.Uint64Var(&s.MaxFiles, "nofile", 0, "")
	f.Int64Var(&s.CoreSize, "core", -1, "")
	f.Int64Var(&s.FileSize, "file", -1, "")
	f.IntVar(&s.Nice, "nice", 0, "")
	f.IntVar(&s.Identity.UID, "uid", -1, "")
	f.IntVar(&s.Identity.GID, "gid", -1, "")
	f.Func("group", "", func(word string) error {
		n, err := strconv.ParseUint(word, 10, 31)
		s.Identity.Groups = append(s.Identity.Groups, int(n))
		return err
	})
	f.BoolVar(&s.Dumps, "dumps", false, "")
	f.Func("may", "", func(list string) error {
		s.Words = strings.Fields(list)
		if len(s.Words) == 0 { // none are those of a process that is not confined
			return errors.New("no words")
		}
		return s.check()
	})
	f.Func("connect", "", ports(&s.Connect))
	f.Func("bind", "", ports(&s.Bind))
	f.StringVar(&s.Kernel, "kernel", "", "")
	return f
}

// Args returns the arguments that Parse reads back.
func (s *Spec) Args() []string {
	a := []string{"-root", s.RootDir}
	if s.Name != "" {
		a = append(a, "-name", s.Name)
	}
	if s.Chroot {
		a = append(a, "-chroot")
	}
	if s.MaxFiles > 0 {
		a = append(a, "-nofile", strconv.FormatUint(s.MaxFiles, 10))
	}
	if s.CoreSize >= 0 {
		a = append(a, "-core", strconv.FormatInt(s.CoreSize, 10))
	}
	if s.FileSize >= 0 {
		a = append(a, "-file", strconv.FormatInt(s.FileSize, 10))
	}
	if s.Nice != 0 {
		a = append(a, "-nice", strconv.Itoa(s.Nice))
	}
	if s.Identity.UID >= 0 {
		a = append(a, "-uid", strconv.Itoa(s.Identity.UID), "-gid", strconv.Itoa(s.Identity.GID))
	}
	for _, g := range s.Identity.Groups {
		a = append(a, "-group", strconv.Itoa(g))
	}
	if s.Dumps {
		a = append(a, "-dumps")
	}
	if len(s.Words) > 0 {
		a = append(a, "-may", strings.Join(s.Words, " "))
	}
	if s.Connect != nil {
		a = append(a, "-connect", printPorts(s.Connect))
	}
	if s.Bind != nil {
		a = append(a, "-bind", printPorts(s.Bind))
	}
	if s.Kernel != "" {
		a = append(a, "-kernel", s.Kernel)
	}
	return a
}

func printPorts(list []uint16) string { return strings.Trim(fmt.Sprint(list), "[]") }

// ports reads a list of them, which may be empty.
func ports(to *[]uint16) func(string) error {
	return func(list string) error {
		*to = []uint16{}
		for word := range strings.FieldsSeq(list) {
			n, err := strconv.ParseUint(word, 10, 16)
			if err != nil {
				return err
			}
			*to = append(*to, uint16(n))
		}
		return nil
	}
}

// Parse reads what Args wrote.
func Parse(args []string) (*Spec, error) {
	s := New()
	f := s.flags()
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if f.NArg() > 0 || !strings.HasPrefix(s.RootDir, "/") || !s.Identity.sane() {
		return nil, errors.New("the arguments make no sense")
	}
	return s, nil
}

// Enter takes this process, all of its threads, into the sandbox, and returns its root
// directory if its words need no name but those below that: by these it opens what it
// opens, for in FreeBSD's capability mode there is no working directory. Else root is
// nil. After an error the process must end: it may be halfway.
func (s *Spec) Enter() (root *os.Root, err error) {
	if err := endProtection(); err != nil {
		return nil, err
	}
	SetName(s.Name)
	ignoreSignals()
	confined := len(s.Words) > 0
	if confined {
		if err := mark(); err != nil {
			return nil, err
		}
	}
	if confined && s.Identity.UID > 0 {
		if err := lowerLimit(unix.RLIMIT_NPROC, maxThreads); err != nil {
			return nil, fmt.Errorf("limit of %d threads: %w", maxThreads, err)
		}
	}
	if s.MaxFiles > 0 {
		if err := setLimit(unix.RLIMIT_NOFILE, s.MaxFiles); err != nil {
			return nil, fmt.Errorf("limit of %d descriptors: %w", s.MaxFiles, err)
		}
	}
	if err := lowerLimit(unix.RLIMIT_CORE, s.CoreSize); err != nil {
		return nil, fmt.Errorf("limit core dumps to %d: %w", s.CoreSize, err)
	}
	if err := lowerLimit(unix.RLIMIT_FSIZE, s.FileSize); err != nil {
		return nil, fmt.Errorf("limit files to %d: %w", s.FileSize, err)
	}
	if s.Nice != 0 {
		if err := setPriority(s.Nice); err != nil {
			return nil, fmt.Errorf("priority %d: %w", s.Nice, err)
		}
	}
	// The time zone's file is out of reach after chroot.
	_, _ = time.Now().Zone()
	return s.settle(&native)
}

// maxThreads is how many a user's processes may have together: more than the Go runtime
// lets one of them have, and few enough for others to get theirs.
const maxThreads = 12000

// ignoreSignals keeps a signal that was meant for the parent, but sent to all who
// bear the name or to the whole control group, from ending sessions. A handler,
// unlike SIG_IGN, does not go on to a script. SIGQUIT still shows where a room
// hangs. A file that meets its limit is an error of write(2), no more.
func ignoreSignals() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGXFSZ)
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
