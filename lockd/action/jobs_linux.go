// What scripts leave running. This file owns that it has us for a parent as long as we
// live, and is reaped when it ends; a script itself is waited for by who runs it.

package action

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// jobs are the children that nobody waits for.
type jobs struct {
	mu      sync.Mutex // no script starts while it is held: each is known before it can end
	scripts map[int]bool
}

// adopt has what scripts leave behind become ours, and not the parent's (prctl(2),
// PR_SET_CHILD_SUBREAPER). All children of this process are to be started by j from now
// on. The function it returns ends the reaping.
func (j *jobs) adopt() (end func(), err error) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			j.reap()
		}
	}()
	end = func() {
		signal.Stop(ended)
		close(ended)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		end()
		return nil, fmt.Errorf("adopt what scripts leave behind: %w", err)
	}
	return end, nil
}

// start starts a script.
func (j *jobs) start(script *exec.Cmd) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := script.Start(); err != nil {
		return err
	}
	if j.scripts == nil {
		j.scripts = make(map[int]bool)
	}
	j.scripts[script.Process.Pid] = true
	return nil
}

// wait waits for a script.
func (j *jobs) wait(script *exec.Cmd) error {
	err := script.Wait()
	j.mu.Lock()
	delete(j.scripts, script.Process.Pid)
	j.mu.Unlock()
	j.reap()
	return err
}

// siginfo is siginfo_t, as waitid(2) fills it in.
type siginfo struct {
	_     [3]int32
	child struct {
		_   [0]uintptr
		pid int32
	}
	_ [128]byte
}

// reap does away with the jobs that have ended, up to a script that has: who waits for
// it has the next look.
func (j *jobs) reap() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		var info siginfo
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		pid := int(info.child.pid)
		switch {
		case err == unix.EINTR:
		case err != nil || pid == 0 || j.scripts[pid]:
			return
		default:
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}
