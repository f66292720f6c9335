// What the command line asks of a daemon that runs already: a signal to the
// process in the pid file, and for -s the state file it writes then. What -L asks
// stands in record.go.

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// stateWithin is how long a daemon may take to write its state file.
const stateWithin = 10 * time.Second

func (inv *invocation) ask() int {
	c, _, err := config.Load(inv.file) // its warnings were said at start
	if err != nil {
		return badConfig(err)
	}
	if inv.do == 'L' {
		if err := printRecord(os.Stdout, inv.argument, c.ControlPaths()...); err != nil {
			return complain(err)
		}
		return 0
	}
	daemon, err := host.FindDaemon(c.Inside(c.PidFile))
	if err != nil {
		return complain(fmt.Errorf("no daemon to signal: %w", err))
	}
	state := c.Inside(c.StateFile)
	before, _ := os.Stat(state)
	if err := daemon.Signal(map[byte]os.Signal{'r': unix.SIGHUP, 'K': unix.SIGTERM, 's': unix.SIGUSR1, 'S': unix.SIGUSR1}[inv.do]); err != nil {
		return complain(fmt.Errorf("signal process %d: %w", daemon.Pid, err))
	}
	if inv.do != 's' && inv.do != 'S' {
		return 0
	}
	if err := written(state, before); err != nil {
		return complain(err)
	}
	if inv.do == 'S' {
		fmt.Println(state)
		return 0
	}
	f, err := os.Open(state)
	if err != nil {
		return complain(err)
	}
	defer f.Close()
	if err := showState(os.Stdout, f); err != nil {
		return complain(err)
	}
	return 0
}

// maxState is more than a state file ever has, in octets.
const maxState = 64 << 20

// showState shows a state file. Who has written it may have been taken over.
func showState(w io.Writer, state io.Reader) error {
	_, err := io.Copy(printable{w}, io.LimitReader(state, maxState))
	return err
}

// printable writes a text of several lines for a terminal: who has written the state
// file may have been taken over.
type printable struct{ io.Writer }

func (p printable) Write(b []byte) (int, error) {
	lines := bytes.Split(b, []byte{'\n'})
	for i, line := range lines {
		lines[i] = []byte(imsg.Printable(string(line), len(line)))
	}
	return p.Writer.Write(bytes.Join(lines, []byte{'\n'}))
}

// written waits until path is another file than before. A rename has no other
// sign that could be waited for on all systems.
func written(path string, before os.FileInfo) error {
	for end := time.Now().Add(stateWithin); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now, err := os.Stat(path)
		if err == nil && (before == nil || !os.SameFile(now, before) || !now.ModTime().Equal(before.ModTime())) {
			return nil
		}
	}
	return fmt.Errorf("no new state in %s after %v: the daemon's log says why", path, stateWithin)
}
