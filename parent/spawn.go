// Making one room: ourselves, executed again with one descriptor and a written
// order where to live. This file owns a room's process and its link; what it is
// told, and when, is decided in child.go.

package parent

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

const (
	linkFD    = 3               // a room's link, in the room
	grace     = 5 * time.Second // for a room to end after its link has
	maxWords  = 300             // lines of a crash that are logged
	maxWord   = 1000            // octets of such a line
	lateCrash = time.Second     // for the rest of a crash text after the end
)

// child is one running room.
type child struct {
	*room
	number          int
	gen             *generation
	index           int   // among the rooms of its kind in gen
	adopted         []int // indexes of dead workers whose sockets it serves as well
	cmd             *exec.Cmd
	conn            *link.Conn
	state           imsg.MemberState
	started         time.Time
	fails           int               // early deaths of its predecessors in a row
	greeted         bool              // has said who it is
	ready           bool              // has said so
	drained         bool              // a worker: has stopped accepting
	stopping        bool              // its end is wanted
	killed          bool              // has been sent KILL
	undead          bool              // and has not died of it
	before          *child            // an undead one whose place it took, or its predecessors did
	owed            bool              // undead, and not replaced yet
	unready         int               // times it was asked and not ready
	silent          atomic.Int32      // questions in a row it has not answered
	accusations     int               // reports about stronger rooms
	firstStderrLine string            // of it
	local           map[string]string // scand: the sockets' names below its root
}

func (m *child) String() string { return fmt.Sprintf("%s %d", m.Name, m.number) }

// spawn starts a room's process. Its first message will be Hello.
func (p *parent) spawn(r *room, g *generation, s *sandbox.Spec) (*child, error) {
	ours, theirs, err := link.Pair()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", r.Name, err)
	}
	defer theirs.Close()
	conn, err := link.NewConn(ours, imsg.Parent, r.Name)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", r.Name, err)
	}
	crash, stderr, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start %s: %w", r.Name, err)
	}
	defer stderr.Close()

	cmd := exec.Command(p.self)
	cmd.Args = append([]string{"smtp-gated", "-x", r.Name.String()}, s.Args()...)
	cmd.Dir = "/"
	cmd.Env = r.environment(g.site)
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs} // linkFD
	// A session of its own: what is typed at our terminal is not for rooms.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := sandbox.Relaxed(cmd.Start); err != nil {
		conn.Close()
		crash.Close()
		return nil, fmt.Errorf("start %s: %w", r.Name, err)
	}
	p.counts[r.Name]++
	m := &child{room: r, number: p.counts[r.Name], gen: g, cmd: cmd, conn: conn, state: imsg.Starting, started: time.Now()}
	p.children = append(p.children, m)
	go p.attend(m, crash)
	return m, nil
}

// environment is all a room is told by its environment.
func (r *room) environment(s *site.Site) []string {
	if r.scripts {
		return host.ScriptEnvironment()
	}
	env := []string{"GOTRACEBACK=single"}
	if r.threads != nil {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(r.threads(s)))
	}
	if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// attend follows a room until its end, outside the loop.
func (p *parent) attend(m *child, crash *os.File) {
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		defer crash.Close()
		p.listenTo(m, crash)
	}()
	go func() {
		err := m.conn.Serve(func(r link.Request) { p.post(func() { p.take(m, r) }) })
		p.post(func() { p.linkEnded(m, err) })
	}()
	err := m.cmd.Wait()
	crash.SetReadDeadline(time.Now().Add(lateCrash))
	<-heard
	p.post(func() { p.ended(m, err) })
}

// listenTo logs what a room writes to its stderr: the text of a crash, or why it
// could not start.
func (p *parent) listenTo(m *child, crash *os.File) {
	in := bufio.NewReaderSize(crash, maxWord)
	for n := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && len(line) == 0 {
			return
		}
		text := strings.TrimRight(strings.ReplaceAll(string(line), "\t", "  "), "\n")
		if text == "" {
			continue
		}
		if n++; n <= maxWords {
			p.post(func() {
				m.firstStderrLine = cmp.Or(m.firstStderrLine, text)
				p.log.Error("room said", "room", m.Name, "member", m.number, "text", text)
			})
		}
	}
}

// tell sends, and ends a room that does not take what it is told.
func (p *parent) tell(m *child, msg imsg.Notice, files ...*os.File) {
	err := m.conn.Send(msg, files...)
	if err == nil || errors.Is(err, imsg.Gone) {
		return
	}
	p.log.Error("room does not listen", "room", m.Name, "member", m.number, "error", err)
	p.kill(m)
}

// dismiss ends a room that has no work left: it ends by itself when its link does.
func (p *parent) dismiss(m *child) {
	if m.stopping {
		return
	}
	m.stopping = true
	m.conn.Close()
	p.killLater(m)
}

// cause words how a room ended.
func cause(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
