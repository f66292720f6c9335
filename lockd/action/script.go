// One run of the script: its arguments, its environment, its time. This file
// owns the names under which an administrator's script knows the values; they
// are a contract and must never change.

package action

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// run runs the script once, logs how it ended, and returns what was wrong with that.
func (a *runner) run(config *imsg.ActionConfig, m *imsg.Run) (problem string) {
	limit, cancel := context.WithTimeout(a.life, config.Timeout)
	defer cancel()
	log := a.log.With(imsg.SessionKey, m.Number, "found", m.Found, "src", m.Client.Addr())
	cannot := func(err error) (problem string) {
		if errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ENOMEM) {
			log = log.With("remedy", raiseLimits)
		}
		log.Error("action script cannot be started", "error", err)
		return "it cannot be started: " + err.Error()
	}
	report, theirs, err := os.Pipe()
	if err != nil {
		return cannot(err)
	}
	defer report.Close()
	// The standard descriptors of a Cmd without any are /dev/null; all others
	// of ours are closed at exec, the report's by the stage.
	cmd := exec.CommandContext(limit, config.Program)
	cmd.Args = stageArguments(config, arguments(config, m))
	cmd.Env = append(os.Environ(), environment(config, m)...)
	cmd.Dir = config.Directory
	cmd.ExtraFiles = []*os.File{theirs} // reportFD
	// A session of its own: its group can be killed as a whole, and no
	// terminal of the daemon's reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stderr := openStderr()
	if stderr != nil {
		defer stderr.Close()
		cmd.Stderr = stderr
	}

	start := time.Now()
	err = a.jobs.start(cmd)
	theirs.Close()
	if err != nil {
		return cannot(err)
	}
	unable := hear(report)
	err = a.jobs.wait(cmd)
	took := time.Since(start).Round(time.Millisecond)
	if err == nil {
		log.Info("action script ended", "time", took)
		return ""
	}
	said := heard(stderr)
	if said != "" {
		log = log.With("stderr", said)
		said = ": " + said
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(limit.Err(), context.DeadlineExceeded):
		log.Error("action script killed at its time limit", "time", took)
		return "killed at its time limit" + said
	case limit.Err() != nil:
		log.Warn("action script killed: the room is ending", "time", took)
		return "killed: the room is ending"
	case unable != nil:
		return cannot(unable)
	case errors.As(err, &exit):
		if outgrown(exit, config) {
			log = log.With("remedy", raiseLimits)
		}
		log.Warn("action script failed", "status", exit.String(), "time", took)
		return exit.String() + said
	default:
		log.Error("action script was lost", "error", err, "time", took)
		return err.Error()
	}
}

const raiseLimits = "raise the limits of its memory, if it does not get as far as its first line"

// outgrown tells whether a script may have been ended by its limits: when one is too
// small for the program itself, the kernel ends it in the middle of exec.
func outgrown(exit *exec.ExitError, config *imsg.ActionConfig) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGSEGV || status.Signal() == syscall.SIGKILL) &&
		(config.Virtual > 0 || config.Data > 0)
}

// arguments are the script's argv.
func arguments(config *imsg.ActionConfig, m *imsg.Run) []string {
	ident := printable(m.Ident)
	if ident == "" {
		ident = "-"
	}
	return []string{config.Script, m.Found.String(), m.Client.Addr().String(), ident, address(m.Target)}
}

// environment is what the script is told, all of it always set. Every value is
// free of control characters: NUL would keep the script from starting, a line
// feed would upset one that writes a log.
func environment(config *imsg.ActionConfig, m *imsg.Run) []string {
	spool := ""
	if m.Spool != "" {
		spool = path.Join(config.SpoolPath, path.Base(m.Spool))
	}
	started := time.Unix(0, m.Started)
	values := [...][2]string{
		{"PROXY_NAME", config.ProxyName},
		{"FOUND", m.Found.String()},
		{"VIRUS_NAME", m.Virus},
		{"SPAM_SCORE", strconv.FormatFloat(m.Score, 'f', 3, 64)},
		{"SOURCE_IP", address(m.Client)},
		{"SOURCE_PORT", port(m.Client)},
		{"TARGET_IP", address(m.Target)},
		{"TARGET_PORT", port(m.Target)},
		{"LOCAL_IP", address(m.Local)},
		{"LOCAL_PORT", port(m.Local)},
		{"IDENT", m.Ident},
		{"IDENT_COUNT", strconv.Itoa(m.IdentCount)},
		{"LOGIN", m.Login},
		{"HELO", m.Helo},
		{"MAIL_FROM", m.MailFrom},
		{"RCPTS_TOTAL", strconv.Itoa(m.Recipients)},
		{"SUBJECT", m.Subject},
		{"SIZE", strconv.FormatInt(m.Size, 10)},
		{"TRANSACTION", strconv.Itoa(m.Transaction)},
		{"AUTH", strconv.Itoa(int(m.Auth))},
		{"SPOOL_NAME", spool},
		{"LOCK_FILE", m.LockFile},
		{"LOCK_DURATION", strconv.Itoa(m.LockDuration)},
		// As C's %c writes it in the C locale.
		{"TIME", started.Local().Format(time.ANSIC)},
		{"UNIXTIME", strconv.FormatInt(started.Unix(), 10)},
	}
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = v[0] + "=" + printable(v[1])
	}
	return list
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}

func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }

// printable replaces control characters. Other octets stay: a path or a name of
// the administrator's may hold any.
func printable(s string) string {
	if strings.IndexFunc(s, control) < 0 {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '#'
		}
	}
	return string(b)
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// heard is the beginning of what a script has said on its stderr, its lines in one. The
// first alone may be no more than a warning of sudo.
func heard(stderr *os.File) string {
	if stderr == nil {
		return ""
	}
	b := make([]byte, maxHeard)
	lines := strings.FieldsFunc(string(b[:readStderr(stderr, b)]), func(c rune) bool { return c == '\r' || c == '\n' })
	return imsg.Printable(strings.Join(lines, "; "), maxHeard)
}
