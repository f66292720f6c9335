package action

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/imsg/process"
)

const patience = imsgtest.Patience

// This binary is the room's program, too: it is run again on the way to a script.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-x" && os.Args[2] == Stage {
		Become(os.Args[3:])
		os.Exit(1)
	}
	time.Local = time.UTC
	os.Exit(m.Run())
}

// self is the program that is under test, as the parent names it.
var self = func() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}()

// shop is the room in this process, and the test as its parent and lockd.
type shop struct {
	*family.Family
	t     *testing.T
	dir   string // the scripts' working directory
	lockd *link.Conn
	log   *imsgtest.Journal
}

// open starts the room with a script; its text goes behind #!/bin/sh.
func open(t *testing.T, text string, config imsg.ActionConfig) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir(), log: new(imsgtest.Journal)}
	if config.Script == "" {
		config.Script = filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(config.Script, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config.Program, config.Directory = cmp.Or(config.Program, self), s.dir
	if config.Timeout == 0 {
		config.Timeout = patience
	}
	s.Family = family.Open(t, imsg.Action, func(f *os.File) error {
		p, err := process.Start(f, imsg.Action)
		if err != nil {
			return err
		}
		return serve(p, slog.New(slog.NewTextHandler(s.log, nil)), new(jobs))
	}, nil)
	s.Configure(&config)
	s.lockd = s.Join(imsg.Lockd, 0, nil)
	return s
}

func (s *shop) run(m *imsg.Run) {
	s.t.Helper()
	if err := s.lockd.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// wait waits for the room's end.
func (s *shop) wait() {
	s.t.Helper()
	select {
	case err := <-s.Ended:
		s.Ended <- nil
		if err != nil {
			s.t.Errorf("the room ended with %v", err)
		}
	case <-time.After(patience):
		s.t.Error("the room does not end")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	imsgtest.Until(t, what, is)
}

// file waits for a file that ends in a line feed and returns what is in it.
func (s *shop) file(name string) string {
	s.t.Helper()
	var b []byte
	eventually(s.t, "file "+name, func() bool {
		b, _ = os.ReadFile(filepath.Join(s.dir, name))
		return bytes.HasSuffix(b, []byte("\n"))
	})
	return strings.TrimSuffix(string(b), "\n")
}

// has tells whether such a file is there, whole.
func (s *shop) has(name string) bool {
	b, _ := os.ReadFile(filepath.Join(s.dir, name))
	return bytes.HasSuffix(b, []byte("\n"))
}

func example() *imsg.Run {
	return &imsg.Run{
		Offence: imsg.Offence{
			Number: 7, Transaction: 2, Found: imsg.FoundSpam, Score: 7.25, Target: netip.MustParseAddrPort("192.0.2.25:25"),
			Helo: "pc $(touch owned) `touch owned`", MailFrom: "joe@example.com", Recipients: 3, Size: 4711,
			Auth: imsg.AuthSupported | imsg.AuthAccepted, Spool: "1700000000.7",
		},
		Started: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC).UnixNano(),
		Client:  netip.MustParseAddrPort("[2001:db8::1]:51234"), Local: netip.MustParseAddrPort("192.0.2.1:9199"),
		Ident: "joe", IdentCount: 2, LockFile: "/locks\nFOUND=x\x00y/2001:db8::1", LockDuration: 3600,
	}
}

func TestEnvironmentAndArguments(t *testing.T) {
	t.Setenv("FOUND", "of the daemon")
	t.Setenv("DAEMON", "its own")
	s := open(t, `
env -0 | tr '\n\0' '@\n' > environment.part
printf '%s|' "$0" "$@" > arguments.part; echo >> arguments.part
pwd > directory
mv environment.part environment
mv arguments.part arguments
`, imsg.ActionConfig{ProxyName: "gate", SpoolPath: "/spool", Queue: 1})
	s.run(example())
	arguments := strings.Split(s.file("arguments"), "|")
	if want := []string{"SPAM", "2001:db8::1", "joe", "192.0.2.25", ""}; !slices.Equal(arguments[1:], want) || filepath.Base(arguments[0]) != "script" {
		t.Errorf("%q", arguments)
	}
	environment := strings.Split(s.file("environment"), "\n")
	for _, want := range []string{
		"DAEMON=its own", "PROXY_NAME=gate", "FOUND=SPAM", "VIRUS_NAME=", "SPAM_SCORE=7.250",
		"SOURCE_IP=2001:db8::1", "SOURCE_PORT=51234", "TARGET_IP=192.0.2.25", "TARGET_PORT=25", "LOCAL_IP=192.0.2.1", "LOCAL_PORT=9199",
		"IDENT=joe", "IDENT_COUNT=2", "HELO=pc $(touch owned) `touch owned`", "MAIL_FROM=joe@example.com",
		"RCPTS_TOTAL=3", "SIZE=4711", "TRANSACTION=2", "AUTH=3", "SPOOL_NAME=/spool/1700000000.7",
		"LOCK_FILE=/locks#FOUND=x#y/2001:db8::1", "LOCK_DURATION=3600", "TIME=Wed Mar  4 05:06:07 2026", "UNIXTIME=1772600767",
	} {
		if !slices.Contains(environment, want) {
			t.Errorf("environment has no %q:\n%s", want, strings.Join(environment, "\n"))
		}
	}
	if got := s.file("directory"); got != s.dir {
		t.Errorf("works in %s, want %s", got, s.dir)
	}
	eventually(t, "log of the end", func() bool { return s.log.Count(`msg="action script ended" session=7 found=SPAM src=2001:db8::1`) == 1 })
	if _, err := os.Stat(filepath.Join(s.dir, "owned")); err == nil {
		t.Error("a client's words were run")
	}
}

func TestAbsentValues(t *testing.T) {
	s := open(t, `
{ for name in PROXY_NAME FOUND VIRUS_NAME SPAM_SCORE SOURCE_IP SOURCE_PORT TARGET_IP TARGET_PORT LOCAL_IP LOCAL_PORT IDENT IDENT_COUNT \
	HELO MAIL_FROM RCPTS_TOTAL SIZE TRANSACTION AUTH SPOOL_NAME LOCK_FILE LOCK_DURATION TIME UNIXTIME; do
	eval "echo $name=\${$name-unset}"
done; printf '%s|' "$@"; echo; } > out.part
mv out.part out
`, imsg.ActionConfig{})
	s.run(&imsg.Run{
		Offence: imsg.Offence{Found: imsg.FoundMaxHost, Transaction: 1, Spool: "passwd"},
		Client:  netip.MustParseAddrPort("192.0.2.7:5"), Local: netip.MustParseAddrPort("0.0.0.0:9199"), IdentCount: 9,
	})
	want := `PROXY_NAME=
FOUND=MAX_HOST
VIRUS_NAME=
SPAM_SCORE=0.000
SOURCE_IP=192.0.2.7
SOURCE_PORT=5
TARGET_IP=
TARGET_PORT=0
LOCAL_IP=0.0.0.0
LOCAL_PORT=9199
IDENT=
IDENT_COUNT=9
HELO=
MAIL_FROM=
RCPTS_TOTAL=0
SIZE=0
TRANSACTION=1
AUTH=0
SPOOL_NAME=passwd
LOCK_FILE=
LOCK_DURATION=0
TIME=Thu Jan 1 00:00:00 1970
UNIXTIME=0
MAX_HOST|192.0.2.7|-||`
	if got := s.file("out"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestDescriptorsAndSession(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc: ", err)
	}
	s := open(t, `
ls -l /proc/$$/fd > out.part
cut -d' ' -f6 /proc/$$/stat >> out.part
echo $$ >> out.part
mv out.part out
`, imsg.ActionConfig{})
	s.run(example())
	lines := strings.Split(s.file("out"), "\n")
	for _, l := range lines[1 : len(lines)-2] {
		link, to, _ := strings.Cut(l, " -> ")
		fd, _ := strconv.Atoi(link[strings.LastIndexByte(link, ' ')+1:])
		// The shell holds its script open, and redirects what lists this. What
		// this test program was started with is not the room's.
		if to == "/dev/null" || fd == 2 && strings.HasPrefix(to, "pipe:") || fd == 1 && strings.HasSuffix(to, "/out.part") || fd > 2 && strings.HasSuffix(to, "/script") || fd > 2 && inherited(fd) {
			continue
		}
		t.Errorf("descriptor %d is %s", fd, to)
	}
	if session, pid := lines[len(lines)-2], lines[len(lines)-1]; session != pid {
		t.Errorf("session %s of process %s", session, pid)
	}
}

// inherited tells whether a descriptor of ours passes every exec.
func inherited(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// A grandchild whose new parent does not reap it is dead all the same.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// Starts a child of its own, and both never end.
const hanging = "sleep 1000 & echo $! > child.part; mv child.part child; echo $$ > leader; wait\n"

func (s *shop) pids() (leader, child int) {
	s.t.Helper()
	leader, _ = strconv.Atoi(s.file("leader"))
	child, _ = strconv.Atoi(s.file("child"))
	if leader <= 1 || child <= 1 {
		s.t.Fatal("no process ids")
	}
	return leader, child
}

func TestTimeLimit(t *testing.T) {
	for limit := range imsgtest.Limits(100 * time.Millisecond) {
		s := open(t, hanging, imsg.ActionConfig{Timeout: limit})
		s.run(example())
		eventually(t, "log of it", func() bool { return s.log.Count("killed at its time limit") == 1 })
		if !s.has("leader") || !s.has("child") {
			continue // killed before it could say who it was
		}
		leader, child := s.pids()
		eventually(t, "killed", func() bool { return !alive(leader) && !alive(child) })
		return
	}
	t.Fatal("no script ever got so far")
}

func TestEndOfTheRoomEndsScripts(t *testing.T) {
	s := open(t, hanging, imsg.ActionConfig{Timeout: time.Hour})
	s.run(example())
	leader, child := s.pids()
	s.Parent.Close()
	s.wait()
	eventually(t, "killed", func() bool { return !alive(leader) && !alive(child) })
}

func TestQueue(t *testing.T) {
	s := open(t, "echo $$ >> started\nuntil [ -e go ]; do sleep 0.01; done\n", imsg.ActionConfig{Queue: 3})
	for range parallel + 3 + 2 {
		s.run(example())
	}
	eventually(t, "two refused", func() bool { return s.log.Count(`reason="the queue is full"`) == 2 })
	eventually(t, "some started", func() bool { return strings.Count(s.file("started"), "\n")+1 == parallel })
	if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all ended", func() bool { return s.log.Count("action script ended") == parallel+3 })
}

func TestDrain(t *testing.T) {
	s := open(t, "echo $$ >> started\nuntil [ -e go ]; do sleep 0.01; done\n", imsg.ActionConfig{Queue: 2})
	for range parallel + 2 {
		s.run(example())
	}
	s.file("started")
	s.Tell(&imsg.Drain{})
	// The queue is full: each further one is refused, and says why.
	for refused := 1; s.log.Count(`reason="the room is ending"`) == 0; refused++ {
		s.run(example())
		eventually(t, "no new work", func() bool { return s.log.Count("reason=") == refused })
	}
	os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600)
	s.wait()
	if n := s.log.Count("action script ended"); n != parallel+2 {
		t.Errorf("%d scripts ended", n)
	}
}

func TestDrainWithNothingToDo(t *testing.T) {
	s := open(t, "", imsg.ActionConfig{})
	s.Tell(&imsg.Drain{})
	s.wait()
}

func TestScriptsThatCannotRun(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]string{
		"/no/such/script": "no such file",
		plain:             "permission denied",
		"/":               "cannot be started",
	} {
		s := open(t, "", imsg.ActionConfig{Script: script})
		s.run(example())
		s.run(example()) // the room goes on
		eventually(t, script+" in the log", func() bool {
			// The look before the first need of it says why, too.
			return s.log.Count("cannot be started") == 2 && s.log.Count(want) >= 2
		})
	}
}

// TestLooksFirst: what cannot be run is said before it is needed, with the part of
// its path that is closed.
func TestLooksFirst(t *testing.T) {
	top := t.TempDir()
	closed := filepath.Join(top, "script")
	if err := os.WriteFile(closed, []byte("#!/bin/sh\ntouch "+top+"/ran\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, config := range []imsg.ActionConfig{{Directory: top, Script: closed}, {Directory: top + "/gone/further", Script: "/bin/sh"}, {Directory: top, Script: top}, {Directory: top, Script: "/bin/sh"}, {}} {
		var j imsgtest.Journal
		a := runner{log: slog.New(slog.NewTextHandler(&j, nil))}
		a.look(&config)
		want := 1
		switch {
		case config.Script == closed && j.Count("closed="+closed+" ") != 1, config.Directory != top && config.Script != "" && j.Count("closed="+top+"/gone ") != 1:
			t.Errorf("%+v: %s", config, j.String())
		case config.Script == "/bin/sh" && config.Directory == top, config.Script == "":
			want = 0
		}
		if j.Count("cannot be run") != want {
			t.Errorf("%+v: %s", config, j.String())
		}
	}
	closed = filepath.Join(top, "ran")
	if _, err := os.Stat(closed); err == nil {
		t.Error("the script was run")
	}
}

func TestExitStatusIsLogged(t *testing.T) {
	s := open(t, "exit 3\n", imsg.ActionConfig{})
	s.run(example())
	eventually(t, "status", func() bool {
		return s.log.Count(`msg="action script failed" session=7 found=SPAM src=2001:db8::1 status="exit status 3"`) == 1
	})
}

// TestProgramIsNone: where our own program ends before it is the script, that is not
// taken for the script's end.
func TestProgramIsNone(t *testing.T) {
	for _, program := range []string{"/bin/sh", "/no/such/program"} {
		s := open(t, "touch ran\n", imsg.ActionConfig{Program: program})
		s.run(example())
		eventually(t, program, func() bool { return s.log.Count(`msg="action script cannot be started"`) == 1 })
	}
}
