// The keeper of a daemon that we start: a process of ours that ends it and removes its
// folder when we are gone, whatever has killed us. Its lifeline is a pipe, of which the
// kernel closes our end with us. It must do nothing else.

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/parent/host"
)

// asKeeper is the first argument of such a process; the others are the folder and the
// program.
const asKeeper = "-k"

// The names in the folder.
const (
	keptConfig = "smtp-gated.toml"
	keptLog    = "log"
	keptPid    = "run/pid"
)

// helperMain is main of what this program is besides the tool, by its first argument: a process
// that it starts of itself.
func helperMain(args []string) (code int, is bool) {
	switch {
	case len(args) > 1 && args[0] == inRoom:
		return lookFromRoom(args[1:], os.Stdin, os.Stdout, os.Stderr), true
	case len(args) == 3 && args[0] == asKeeper:
		return keepDaemon(args[1], args[2], os.Stdin, os.Stderr), true
	}
	return 0, false
}

// keepDaemon is main of a keeper: the daemon runs until it ends, or the lifeline does.
func keepDaemon(folder, program string, lifeline io.Reader, errs io.Writer) int {
	// What a terminal sends is for who started us. Who ends us ends the daemon.
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
	cut := make(chan struct{})
	go func() {
		io.Copy(io.Discard, lifeline)
		close(cut)
	}()

	daemon := exec.Command(program, "-f", filepath.Join(folder, keptConfig))
	log, err := os.OpenFile(filepath.Join(folder, keptLog), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		daemon.Stderr = log
		err = daemon.Start()
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	select {
	case err := <-ended: // what it has said is of interest still
		var exit *exec.ExitError
		switch {
		case err == nil:
			return exitOK
		case errors.As(err, &exit) && exit.ExitCode() > 0:
			return exit.ExitCode()
		}
		fmt.Fprintln(errs, err)
		return exitFailed
	case <-cut:
	case <-ends:
	}
	if err := errors.Join(endProcess(daemon.Process, ended), os.RemoveAll(folder)); err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	return exitOK
}

// endProcess ends a daemon, gently first: the second TERM ends running sessions.
func endProcess(p *os.Process, ended <-chan error) error {
	for range 2 {
		p.Signal(syscall.SIGTERM)
		select {
		case <-ended:
			return nil
		case <-time.After(endTime):
		}
	}
	p.Kill()
	<-ended
	return fmt.Errorf("smtp-gated did not end within %v and was killed", 2*endTime)
}

// holdFolder opens a folder and takes its lock, which lasts as long as any process that has
// the descriptor.
func holdFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// sweepFolders removes what daemons of ours have left behind in a folder: those in which no
// daemon runs, and that nobody holds.
func sweepFolders(in, prefix string) {
	names, _ := filepath.Glob(filepath.Join(in, prefix+"*")) // safePlace is no pattern
	for _, path := range names {
		if f, err := holdFolder(path); err == nil {
			if abandoned(f, path) {
				os.RemoveAll(path)
			}
			f.Close()
		}
	}
}

// abandoned tells whether a folder that we hold is ours, and no daemon runs in it.
func abandoned(f *os.File, path string) bool {
	info, err := f.Stat()
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
		return false
	}
	lock, err := host.LockPidFile(filepath.Join(path, keptPid))
	if err == nil {
		lock.Remove()
	}
	return err == nil || errors.Is(err, fs.ErrNotExist)
}
