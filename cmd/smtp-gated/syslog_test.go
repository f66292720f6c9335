package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// syslog is a system's log that stories may restart. The daemon sees it as /dev/log, by a
// mount of its own; what it says there goes into the log of the story, and into syslog.1
// up to the first restart, then into syslog.2, and so on.
type syslog struct {
	story *story
	conn  *net.UnixConn
	times int // it was started
}

func (s *story) syslog(*testscript.TestScript, bool, []string) error {
	if err := os.Mkdir(s.path("dev"), 0o755); err != nil {
		return err
	}
	l := &syslog{story: s}
	s.doors["syslog"] = door{l.open, l.close}
	s.watcher = l
	return l.open()
}

// watch has a daemon started where nothing but the log's socket and a few devices is in
// /dev.
func (l *syslog) watch(cmd *exec.Cmd) (begun func() error, err error) {
	const script = `for d in null zero random urandom; do touch $DEV/$d && mount --bind /dev/$d $DEV/$d || exit; done
mount --rbind $DEV /dev && exec "$@"`
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return nil, err
	}
	cmd.Args = append([]string{unshare, "--mount", "/bin/sh", "-c", script, "sh"}, cmd.Args...)
	cmd.Path = unshare
	cmd.Env = append(cmd.Env, "DEV="+l.story.path("dev"))
	return func() error { return nil }, nil
}

func (l *syslog) open() (err error) {
	name := filepath.Join(l.story.path("dev"), "log")
	if l.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"}); err != nil {
		return err
	}
	l.times++
	go l.listen(l.conn, fmt.Sprintf("syslog.%d", l.times))
	return os.Chmod(name, 0o666)
}

func (l *syslog) listen(conn *net.UnixConn, name string) {
	line := make([]byte, 64<<10)
	for {
		n, err := conn.Read(line)
		if err != nil {
			return
		}
		if how, over := l.story.manners.meet("syslog"); how == "hangs" {
			<-over
		}
		for _, name := range []string{"log", name} {
			log, err := os.OpenFile(l.story.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
			if err != nil {
				return
			}
			fmt.Fprintln(log, strings.TrimSpace(string(line[:n])))
			log.Close()
		}
	}
}

func (l *syslog) close() error {
	return errors.Join(l.conn.Close(), os.Remove(filepath.Join(l.story.path("dev"), "log")))
}
