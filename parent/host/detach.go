// Going into the background: the daemon starts itself again in a session of its
// own and waits until that one works, so that whoever typed the command sees
// what is wrong.

package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Program is the program to execute to have another of us: on Linux the very file we
// run, even if another has taken its name since.
func Program() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	p, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	return p, nil
}

// Detach starts the daemon in the background with a configuration file and returns the exit status to end
// with: 0 when the family works, else that of the daemon, which has said why.
func Detach(config string) (int, error) {
	program, err := Program()
	if err != nil {
		return 1, err
	}
	started, theirs, err := os.Pipe()
	if err != nil {
		return 1, fmt.Errorf("start in the background: %w", err)
	}
	defer started.Close()
	cmd := exec.Command(program)
	cmd.Args = []string{os.Args[0], "-x", imsg.Parent.String(), config}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return 1, fmt.Errorf("start in the background: %w", err)
	}
	if n, _ := started.Read(make([]byte, 1)); n == 1 {
		return 0, cmd.Process.Release()
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	return 1, nil
}

// Detached tells the Detach at the other end of started that all is well, and lets go
// of its terminal.
func Detached(started *os.File) {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		dup2(int(null.Fd()), 2)
		null.Close()
	}
	started.Write([]byte{1})
	started.Close()
}
