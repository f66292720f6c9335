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
	// The standard descriptors of a Cmd without any are /dev/null; all others
	// of ours are closed at exec.
	cmd := exec.CommandContext(limit, config.Script)
	cmd.Args = arguments(config, m)
	cmd.Env = append(os.Environ(), environment(config, m)...)
	cmd.Dir = config.Directory
	// A session of its own: its group can be killed as a whole, and no
	// terminal of the daemon's reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

	log := a.log.With(imsg.SessionKey, m.Number, "found", m.Found, "src", m.Client.Addr())
	start := time.Now()
	if err := a.jobs.start(cmd); err != nil {
		log.Error("action script cannot be started", "error", err)
		return "it cannot be started: " + err.Error()
	}
	if err := limits(cmd.Process.Pid, config); err != nil {
		log.Warn("action script runs without its limits", "error", err)
	}
	err := a.jobs.wait(cmd)
	took := time.Since(start).Round(time.Millisecond)
	var exit *exec.ExitError
	switch {
	case err == nil:
		log.Info("action script ended", "time", took)
	case errors.Is(limit.Err(), context.DeadlineExceeded):
		log.Error("action script killed at its time limit", "time", took)
		return "killed at its time limit"
	case limit.Err() != nil:
		log.Warn("action script killed: the room is ending", "time", took)
		return "killed: the room is ending"
	case errors.As(err, &exit):
		log.Warn("action script failed", "status", exit.String(), "time", took)
		return exit.String()
	default:
		log.Error("action script was lost", "error", err, "time", took)
		return err.Error()
	}
	return ""
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
