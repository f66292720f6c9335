// What a script may use up. The limits cannot be ours, which the script would
// inherit: the runtime could not live with them. Nor can they be set from outside once
// the script runs: by then it has started others, or is another user's by sudo. So a
// script is started by way of our own program, which does nothing but set its limits and
// become the script. This file owns both ends of that.

package action

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// Stage is what follows -x where our program is to become a script: the limits, the
// script, and its arguments.
const Stage = "script"

const (
	// reportFD is where the stage says that it is there, and, if it cannot become the
	// script, at which step and why. Else the script's first instruction follows.
	reportFD = 3
	there    = '+'
)

// steps are what the stage does, in this order. It has limits for all but the last.
var steps = [...]struct {
	what  string
	which int
}{
	{"limit its address space", limitAddresses},
	{"limit its data segment", unix.RLIMIT_DATA},
	{"limit the size of its files", unix.RLIMIT_FSIZE},
	{"execute it", -1},
}

// stageArguments are those of our program that lead to script with these arguments,
// its name among them.
func stageArguments(config *imsg.ActionConfig, arguments []string) []string {
	list := []string{"smtp-gated", "-x", Stage}
	for _, most := range [...]int64{config.Virtual, config.Data, config.File} {
		list = append(list, strconv.FormatInt(most, 10))
	}
	return append(append(list, config.Script), arguments...)
}

// Become makes this process the script that args, what followed Stage, describe. It
// returns only if that cannot be, and has told the room.
func Become(args []string) {
	const limited = len(steps) - 1
	if len(args) < limited+2 {
		return
	}
	var most [limited]int64
	for i := range most {
		var err error
		if most[i], err = strconv.ParseInt(args[i], 10, 64); err != nil {
			return
		}
	}
	script, argv, env := args[limited], args[limited+1:], os.Environ()
	syscall.CloseOnExec(reportFD)
	if _, err := unix.Write(reportFD, []byte{there}); err != nil {
		return
	}
	// Once a limit holds, the kernel may give no more memory, and the runtime ends the
	// process that wants some. So no other thread of it does anything any more, and what
	// exec takes, a copy of the arguments and the environment, has been had once, in a
	// try that fails, and is free again. The try gives back the limit of descriptors,
	// too, which the runtime has raised for itself.
	runtime.GOMAXPROCS(1)
	_ = syscall.Exec("", argv, env)
	runtime.GC()
	step, err := 0, error(nil)
	for ; step < limited && err == nil; step++ {
		err = lowerLimit(steps[step].which, most[step])
	}
	if err == nil {
		err, step = syscall.Exec(script, argv, env), step+1
	}
	var why syscall.Errno
	errors.As(err, &why)
	_, _ = unix.Write(reportFD, []byte{byte(step - 1), byte(why)})
}

// hear waits until a stage has become the script. The error is why it has not.
func hear(report io.Reader) error {
	said, err := io.ReadAll(io.LimitReader(report, 3))
	switch {
	case err != nil:
		return err
	case len(said) == 0 || said[0] != there:
		return errors.New("our own program has ended on the way to it")
	case len(said) == 3 && int(said[1]) < len(steps):
		return fmt.Errorf("%s: %w", steps[said[1]].what, syscall.Errno(said[2]))
	}
	return nil
}

// lowerLimit sets a limit, or leaves a lower one that holds already. 0 is none.
func lowerLimit(which int, most int64) error {
	if most == 0 || which < 0 {
		return nil
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(which, &l); err != nil {
		return err
	}
	lower(&l.Cur, &l.Max, most)
	return unix.Setrlimit(which, &l)
}

// lower is for systems that count in either.
func lower[T int64 | uint64](now, ever *T, most int64) {
	*ever = min(*ever, T(most))
	*now = *ever
}
