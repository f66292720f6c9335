// The words stories are told in. Beside those of testscript:
//
//	server [tls|auth|xclient|v6|mute|full|narrow]…  start the mail server
//	gate start|activate|background FILE  run the daemon with this configuration; it listens at GATE
//	gate reload [FILE]               have it read a new one
//	gate config FILE                 only write the one in force, smtp-gated.conf
//	gate signal NAME|end [STATUS]|listens
//	status N PROGRAM ARG…            run as the daemon's user; N is its exit status
//	client NAME [from=IP] [listener=N]  connect, or go on with one there
//	again client PATTERN [from=IP]   clients connect and go until one hears this
//	> LINE, >> LINE LINE…            say a line, or several at once
//	< PATTERN, < EOF                 hear a reply
//	starttls, text FILE, hang up     what lines cannot say
//	mail FILE PATTERN [from=IP] [listener=N]  a whole session with one message
//	mailbox N [FILE]                 N mails have arrived, the last is FILE, its header now in nat
//	saw PATTERN                      the server got such a command
//	log PATTERN                      the log has such a line
//	appears FILE                     wait for a file
//	shows PATTERN PROGRAM ARG…       run it until it prints a line like this
//	silence SOCKET                   a scanner that never answers
//	scanner SOCKET ANSWER            one that always answers so
//	router udp|tcp ADDRESS ANSWER    a helper on a router, its port ROUTER (see router_test.go)
//	zone NAME ENTRY=ADDRESS…         a name server with this block list, NAMESERVER
//	sessions N                       wait until lockd counts so many
//	counted NAME N                   wait until that counter stands there
//	busy                             write busy.conf, whose port is taken
//	need CONDITION                   else the story is skipped
//	network ADDRESS/BITS…            the story plays in a network with these, too
//	load                             give the machine something to do
//	rooms                            look at each room from outside
//	kill9 ROOM|parent
//	freeze ROOM, thaw ROOM           stop all of its processes, and let them go on
//
// and, where mail flows while something goes wrong (see trouble_test.go):
//
//	syslog                           a /dev/log of the story's own, which may be restarted
//	engine clamd|spamd               a scanner that scans, at the address CLAMD or SPAMD
//	crowd N                          so many clients keep sending, each clean, infected and spam mail
//	crowd N virus                    no spam
//	crowd N big                      the clean mail is more than queues on its way
//	crowd N deaf|slow|vanishing      these do what they do
//	come N                           wait until so many of the latter have come
//	flows                            wait until good mail gets through and bad mail is refused
//	meets N HOW AT                   server or scanner misbehaves there until it was met so often, then mail flows
//	often N kill9|freeze ROOM        so often, each time a process of it at any moment, then mail flows
//	limit ROOM WHAT[=N]              its processes may use so much, as nofile=3, or what they may at first
//	starve N limit|group             no room gets more memory until N have ended, then mail flows
//	injected, inject …               system calls fail (see injected_linux_test.go)
//	brisk N TIME                     the client says N commands, a little apart, and hears all answers within TIME
//	calm [put-off] [cut] [unreached] all go: no mail was lost, doubled or let through, nothing is left

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

// story is one script under way.
type story struct {
	*gate
	*msa
	clients map[string]*client
	talking *client
	silent  []io.Closer // scanners and name servers
	t       testscript.T
	trouble
}

type storyKey struct{}

func begin(env *testscript.Env, rooted bool) error {
	if err := os.Chmod(filepath.Dir(env.WorkDir), 0o755); err != nil {
		return err
	}
	g, err := newGate(env.WorkDir, rooted)
	if err != nil {
		return err
	}
	s := &story{gate: g, clients: map[string]*client{}, t: env.T(), trouble: trouble{pests: &pests{end: make(chan struct{})}, doors: map[string]door{}}}
	env.Values[storyKey{}] = s
	env.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	for name, text := range map[string]string{"clean": cleanMail, "virus": virusMail, "spam": spamMail} {
		if err := os.WriteFile(g.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	env.Defer(func() {
		s.disperse()
		for _, c := range s.clients {
			c.conn.Close()
		}
		g.end()
		for _, l := range s.silent {
			l.Close()
		}
		for _, d := range s.doors {
			d.close()
		}
		if s.msa != nil {
			s.msa.stop()
			if err := s.check(); err != nil {
				env.T().Fatal(err)
			}
		}
	})
	return nil
}

// condition knows [root], where rooms change user, [ipv6], [inject], where system calls
// can fail at will, [memgroup], where control groups bound memory, and [pgrep],
// [prlimit], [setpriv] and [unshare], that there are such programs.
func condition(rooted bool) func(string) (bool, error) {
	return func(word string) (bool, error) {
		switch word {
		case "root":
			return rooted, nil
		case "ipv6":
			l, err := net.Listen("tcp6", "[::1]:0")
			if err == nil {
				l.Close()
			}
			return err == nil, nil
		case "inject": // what rooms open and name only root may look at
			return injectable && os.Geteuid() == 0, nil
		case "memgroup": // processes can be given a bound of memory together
			g, err := newMemoryGroup()
			if err == nil {
				err = g.remove()
			}
			return err == nil, nil
		case "openssl", "pgrep", "prlimit", "setpriv", "swaks", "unshare":
			_, err := exec.LookPath(word)
			return err == nil, nil
		}
		return false, fmt.Errorf("unknown condition %s", word)
	}
}

// commands are our words. What a word cannot do without ends the story.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"need":     word((*story).need),
	"network":  word((*story).network),
	"load":     word((*story).load),
	"server":   word((*story).startServer),
	"gate":     word((*story).doGate),
	"status":   word((*story).status),
	"client":   word((*story).client),
	"again":    word((*story).again),
	">":        word((*story).say),
	">>":       word((*story).sayAtOnce),
	"<":        word((*story).hear),
	"starttls": word((*story).secure),
	"text":     word((*story).text),
	"hang":     word((*story).hangUp),
	"mail":     word((*story).mail),
	"mailbox":  word((*story).mailbox),
	"saw":      word((*story).serverSaw),
	"log":      word((*story).logged),
	"appears":  word((*story).appears),
	"shows":    word((*story).shows),
	"silence":  word((*story).silence),
	"scanner":  word((*story).scanner),
	"router":   word((*story).router),
	"zone":     word((*story).zone),
	"sessions": word((*story).sessions),
	"counted":  word((*story).counted),
	"busy":     word((*story).busy),
	"rooms":    word((*story).rooms),
	"kill9":    word((*story).kill9),
	"freeze":   word((*story).freeze),
	"syslog":   word((*story).syslog),
	"engine":   word((*story).engine),
	"crowd":    word((*story).gather),
	"flows":    word((*story).flows),
	"meets":    word((*story).meets),
	"come":     word((*story).come),
	"often":    word((*story).often),
	"limit":    word((*story).limit),
	"starve":   word((*story).starve),
	"calm":     word((*story).calm),
	"brisk":    word((*story).brisk),
	"thaw":     word((*story).thaw),
}

var errTelling = errors.New("this is not how the word is used")

func word(do func(*story, *testscript.TestScript, bool, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, not bool, args []string) {
		s := ts.Value(storyKey{}).(*story)
		if err := do(s, ts, not, args); err != nil {
			ts.Logf("[log]\n%s", s.gate.log())
			if text, _ := os.ReadFile(s.path("stderr")); len(text) > 0 {
				ts.Logf("[stderr of smtp-gated]\n%s", text)
			}
			ts.Fatalf("%v", err)
		}
	}
}

// flags takes key=value words off the end of args.
func flags(args []string) ([]string, map[string]string) {
	set := map[string]string{}
	for len(args) > 0 {
		key, value, ok := strings.Cut(args[len(args)-1], "=")
		if !ok || key != "from" && key != "listener" {
			break
		}
		set[key] = value
		args = args[:len(args)-1]
	}
	return args, set
}

// need skips a story that lacks something.
func (s *story) need(_ *testscript.TestScript, _ bool, args []string) error {
	have, err := condition(s.rooted)(args[0])
	if err == nil {
		need(s.t, have, args[0])
	}
	return err
}

// load keeps a processor busy until the load average shows it.
func (s *story) load(*testscript.TestScript, bool, []string) error {
	for end := imsgtest.Deadline(); process.Load() < 0.01; {
		if time.Now().After(end) {
			return errors.New("work makes no load")
		}
	}
	return nil
}

func (s *story) startServer(_ *testscript.TestScript, _ bool, args []string) (err error) {
	if s.msa != nil {
		s.msa.stop()
	}
	if s.msa, err = startMSA(args...); err != nil {
		return err
	}
	s.server = s.msa.port()
	s.doors["server"] = door{s.msa.open, s.msa.shut}
	return nil
}

// configuration puts a story's configuration in force.
func (s *story) configuration(ts *testscript.TestScript, name string) error {
	text := os.Expand(ts.ReadFile(name), func(key string) string {
		if key == "SERVER" {
			return strconv.Itoa(s.server)
		}
		return ts.Getenv(key)
	})
	return s.configure(text, strings.HasSuffix(name, ".toml"))
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "QUIT": syscall.SIGQUIT}

func (s *story) doGate(ts *testscript.TestScript, not bool, args []string) error {
	if len(args) > 1 && args[0] != "signal" && args[0] != "end" {
		if err := s.configuration(ts, args[1]); err != nil {
			return err
		}
	}
	switch args[0] {
	case "config":
		return nil
	case "start":
		err := s.start()
		if err == nil {
			ts.Setenv("GATE", s.address(0))
		}
		return err
	case "background":
		return s.background()
	case "activate":
		var files []*os.File
		for _, a := range args[2:] {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			defer l.Close()
			f, err := l.(*net.TCPListener).File()
			if err != nil {
				return err
			}
			defer f.Close()
			files = append(files, f)
		}
		return s.start(files...)
	case "reload":
		return s.reload()
	case "signal":
		return s.signal(signals[args[1]])
	case "end":
		status, err := s.wait()
		if err == nil && len(args) > 1 && args[1] != strconv.Itoa(status) {
			err = fmt.Errorf("exit status %d", status)
		}
		return err
	case "stop":
		return s.gate.terminate()
	case "listens":
		c, err := net.DialTimeout("tcp", s.address(0), patience)
		if err == nil {
			c.Close()
		}
		if not {
			return eventually("the gate still listens", func() bool {
				c, err := net.DialTimeout("tcp", s.address(0), patience)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
		}
		return err
	}
	return errTelling
}

func (s *story) status(ts *testscript.TestScript, _ bool, args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := s.handOver(); err != nil {
		return err
	}
	cmd := s.command(program(args[1]), args[2:]...)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	ended := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		cmd.Process.Kill()
		return fmt.Errorf("%s does not end", args[1])
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("exit status %d, want %d", got, want)
	}
	return nil
}

func (s *story) dial(set map[string]string) (*client, error) {
	n, _ := strconv.Atoi(set["listener"])
	return dialGate(s.address(n), set["from"])
}

func (s *story) client(_ *testscript.TestScript, _ bool, args []string) (err error) {
	args, set := flags(args)
	if len(args) != 1 {
		return errTelling
	}
	if c := s.clients[args[0]]; c != nil && len(set) == 0 {
		s.talking = c
		return nil
	}
	if s.talking, err = s.dial(set); err == nil {
		s.clients[args[0]] = s.talking
	}
	return err
}

func (s *story) again(_ *testscript.TestScript, _ bool, args []string) error {
	args, set := flags(args)
	if len(args) != 2 || args[0] != "client" {
		return errTelling
	}
	return eventually("no client hears "+args[1], func() bool {
		c, err := s.dial(set)
		if err != nil {
			return false
		}
		defer c.conn.Close()
		return c.expect(args[1]) == nil
	})
}

func (s *story) say(_ *testscript.TestScript, _ bool, args []string) error {
	return s.talking.send(strings.Join(args, " "))
}

func (s *story) sayAtOnce(_ *testscript.TestScript, _ bool, args []string) error {
	return s.talking.send(args...)
}

func (s *story) hear(_ *testscript.TestScript, _ bool, args []string) error {
	if err := s.talking.expect(strings.Join(args, " ")); err != nil || args[0] != "EOF" {
		return err
	}
	return s.hangUp(nil, false, nil)
}

func (s *story) secure(*testscript.TestScript, bool, []string) error { return s.talking.startTLS() }

func (s *story) text(ts *testscript.TestScript, _ bool, args []string) error {
	return s.talking.text([]byte(ts.ReadFile(args[0])))
}

func (s *story) hangUp(*testscript.TestScript, bool, []string) error {
	for name, c := range s.clients {
		if c == s.talking {
			delete(s.clients, name)
		}
	}
	return s.talking.conn.Close()
}

func (s *story) mail(ts *testscript.TestScript, _ bool, args []string) error {
	args, set := flags(args)
	if len(args) < 2 {
		return errTelling
	}
	c, err := s.dial(set)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	got, err := c.deliver([]byte(ts.ReadFile(args[0])))
	if err != nil {
		return err
	}
	if want := strings.Join(args[1:], " "); !matches("^(?:"+want+")", got) {
		return fmt.Errorf("got reply %q, want one like %s", got, want)
	}
	return c.quit()
}

func (s *story) mailbox(ts *testscript.TestScript, _ bool, args []string) error {
	mails, err := s.box()
	if err != nil {
		return err
	}
	if got := strconv.Itoa(len(mails)); got != args[0] {
		return fmt.Errorf("%s mails in the mailbox", got)
	}
	if len(args) == 1 {
		return nil
	}
	header, text := split(mails[len(mails)-1])
	if want := string(wire([]byte(ts.ReadFile(args[1])))); text != want {
		return fmt.Errorf("mailbox has %q, want %q", text, want)
	}
	return os.WriteFile(s.path("nat"), []byte(strings.ReplaceAll(header, "\r\n", "\n")), 0o644)
}

func (s *story) serverSaw(_ *testscript.TestScript, not bool, args []string) error {
	return s.saw(strings.Join(args, " "), !not)
}

func (s *story) logged(_ *testscript.TestScript, not bool, args []string) error {
	pattern := strings.Join(args, " ")
	if !not {
		return s.inLog(pattern)
	}
	if matches(pattern, s.gate.log()) {
		return fmt.Errorf("the log has a line like %s", pattern)
	}
	return nil
}

func (s *story) appears(_ *testscript.TestScript, not bool, args []string) error {
	return eventually(args[0]+" is not as expected", func() bool {
		_, err := os.Stat(s.path(args[0]))
		return (err == nil) != not
	})
}

// shows is for what a program tells, or a folder holds, a moment later than the
// client hears of it.
func (s *story) shows(ts *testscript.TestScript, not bool, args []string) error {
	if len(args) < 2 {
		return errTelling
	}
	return eventually(args[1]+" does not print what it should", func() bool {
		err := ts.Exec(args[1], args[2:]...)
		return err == nil && matches(args[0], ts.ReadFile("stdout")) != not
	})
}

func (s *story) silence(_ *testscript.TestScript, _ bool, args []string) error {
	l, err := net.Listen("unix", s.path(args[0]))
	if err != nil {
		return err
	}
	s.silent = append(s.silent, l)
	return os.Chmod(s.path(args[0]), 0o777)
}

// scanner answers whatever it is asked. Its answer is written as in Go.
func (s *story) scanner(ts *testscript.TestScript, not bool, args []string) error {
	answer, err := strconv.Unquote(`"` + strings.Join(args[1:], " ") + `"`)
	if err != nil {
		return err
	}
	if err := s.silence(ts, not, args); err != nil {
		return err
	}
	go serveEach(s.silent[len(s.silent)-1].(net.Listener), func(c net.Conn) {
		c.Read(make([]byte, 1))
		io.WriteString(c, answer)
		c.(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, c) // it may still be asking
	})
	return nil
}

func (s *story) sessions(_ *testscript.TestScript, _ bool, args []string) error {
	return eventually("lockd does not count "+args[0]+" sessions", func() bool {
		st, err := s.ask()
		return err == nil && strconv.Itoa(st.Sessions) == args[0]
	})
}

func (s *story) counted(_ *testscript.TestScript, _ bool, args []string) error {
	return eventually(args[0]+" is not "+args[1], func() bool {
		r, err := s.ask()
		return err == nil && strconv.FormatUint(r.Counters[args[0]], 10) == args[1]
	})
}

func (s *story) busy(*testscript.TestScript, bool, []string) error {
	own := s.house() + "port " + strconv.Itoa(s.server) + "\nfixed_server 127.0.0.2\npidfile " + s.path("other/pid") + "\n"
	return os.WriteFile(s.path("busy.conf"), []byte(own), 0o644)
}

func (s *story) rooms(*testscript.TestScript, bool, []string) error {
	all, err := s.whole(0)
	if err != nil {
		return err
	}
	return s.gate.inspect(all)
}

// comms are what the processes of rooms are called.
var comms = map[string]string{
	"parent": "smtp-gated", "session": "smtp-gated-sess", "lookupd": "smtp-gated-look", "scand": "smtp-gated-scan",
	"lockd": "smtp-gated-lock", "action": "smtp-gated-acti", "keys": "smtp-gated-keys",
}

// processes finds those of a room without asking the daemon, which may be frozen.
func (s *story) processes(room string) (pids []int, err error) {
	parent, err := os.ReadFile(s.path("run/pid"))
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("pgrep", "-P", strings.TrimSpace(string(parent)), "-x", comms[room]).Output()
	if err != nil {
		return nil, fmt.Errorf("find the processes of %q: %w", room, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

func (s *story) freeze(_ *testscript.TestScript, _ bool, args []string) error {
	pids, err := s.processes(args[0])
	if err != nil {
		return err
	}
	return freeze(pids)
}

func (s *story) thaw(_ *testscript.TestScript, _ bool, args []string) error {
	pids, err := s.processes(args[0])
	if err != nil {
		return err
	}
	return each(pids, syscall.SIGCONT)
}

func (s *story) kill9(_ *testscript.TestScript, _ bool, args []string) error {
	if args[0] != "parent" {
		return s.kill(args[0])
	}
	all, err := s.whole(0)
	if err != nil {
		return err
	}
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	for _, m := range all {
		if err := eventually(m.Room+" outlives its parent", func() bool { return gone(m.PID) }); err != nil {
			return err
		}
	}
	_, err = s.wait()
	return err
}

// each sends a signal to every process.
func each(pids []int, s syscall.Signal) (err error) {
	for _, pid := range pids {
		err = errors.Join(err, syscall.Kill(pid, s))
	}
	return err
}

// freeze stops processes, and returns when no thread of them accepts any more.
func freeze(pids []int) error {
	return errors.Join(each(pids, syscall.SIGSTOP), eventually("a process does not stop", func() bool {
		for _, pid := range pids {
			threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
			for _, name := range threads {
				stat, err := os.ReadFile(name)
				if err == nil && !bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" T")) {
					return false
				}
			}
		}
		return true
	}))
}
