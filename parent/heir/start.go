package heir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Program returns the path of our own program, which another may take the place of.
func Program() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	return strings.TrimSuffix(path, " (deleted)"), nil
}

// Start starts the program at path as our heir, with one end of a pair as its descriptor
// 3: as our child, or as our sibling, for a service manager does without waiting for the
// end of a process that is not its own child. ended is told when it is no more, by a
// goroutine of its own; how it has ended nobody tells of a sibling.
func Start(path string, args, environment []string, sibling bool, ended func(error)) (*Conn, *os.Process, error) {
	ours, theirs, err := Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(path)
	cmd.Args = append([]string{"smtp-gated"}, args...)
	cmd.Dir = "/"
	cmd.Env = environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	wait := cmd.Wait
	if sibling {
		wait = asSibling(cmd)
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, nil, err
	}
	go func() { ended(wait()) }()
	return ours, cmd.Process, nil
}

// Inherited returns the link to the parent that has started us as its heir.
func Inherited() (*Conn, error) {
	syscall.CloseOnExec(inherited)
	return Open(os.NewFile(inherited, "elder"))
}

const inherited = 3

// ErrGone is that the elder has ended before all was ours.
var ErrGone = errors.New("what we were to take over from has ended")
