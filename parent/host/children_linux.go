package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// AdoptOrphans has what our children leave behind become ours, and not init's (prctl(2),
// PR_SET_CHILD_SUBREAPER).
func AdoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	return nil
}

// Children returns the processes whose parent we are. Not every kernel lists them, so
// all there are are looked at (proc_pid_stat(5)); without /proc there are none.
func Children() (all []Child) {
	names, err := proc()
	if err != nil {
		return nil
	}
	us := strconv.Itoa(os.Getpid())
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it is gone
		}
		// The name before, in parentheses, may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == us {
			all = append(all, Child{PID: pid, Ended: string(fields[0]) == "Z"})
		}
	}
	return all
}

func proc() ([]string, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// EndGroup is for systems that know no adoption.
func EndGroup(int) {}
