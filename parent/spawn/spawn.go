// Package spawn makes a process of ourselves, executed again with one descriptor, a
// link, and a written order where to live; it follows the process to its end, and
// brings that about. What the process is told, and when, it leaves to others.
//
// This file owns the life of a process.
package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

const (
	linkFD = 3 // the link, in the process
	// Grace is for a process to end after its link has, or after KILL.
	Grace = 5 * time.Second
)

// talk is how much a process may say, answers and all. No honest one comes near to it.
var talk = imsg.Pace{Burst: 4096, Every: 500 * time.Microsecond}

// Order is what a process is started with.
type Order struct {
	Program string // to execute
	Room    imsg.Room
	Spec    *sandbox.Spec
	Threads int                     // GOMAXPROCS, 0: the runtime decides
	Kill    func(*os.Process) error // other than KILL, for tests
}

// Events are called when something has happened to a process, by goroutines of its
// own, but Unkillable by whoever calls Kill: none may wait for long. Ended comes once,
// after the last Line, Stuck only after Kill and perhaps after Ended.
type Events struct {
	Message    func(link.Request) // it says something
	LinkEnded  func(error)        // without an error it has closed the link, or we have
	Line       func(string)       // it writes to its stderr
	Ended      func(error)        // it has; the error says how, as exec.Cmd's Wait
	Unkillable func(error)        // Kill fails
	Stuck      func()             // it was killed and is there still
}

// Process is one that was started.
type Process struct {
	PID     int
	Started time.Time
	Link    *link.Conn

	order  Order
	events Events
	cmd    *exec.Cmd
	killed atomic.Bool
	silent atomic.Int32 // questions in a row it has not answered
}

// Start starts a process. Its first message will be Hello.
func Start(o Order, e Events) (*Process, error) {
	ours, theirs, err := link.Pair()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Room, err)
	}
	defer theirs.Close()
	conn, err := link.NewConn(ours, imsg.Parent, o.Room)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Room, err)
	}
	conn.Limit(talk)
	crash, stderr, err := os.Pipe()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("start %s: %w", o.Room, err)
	}
	defer stderr.Close()

	cmd := exec.Command(o.Program)
	cmd.Args = append([]string{"smtp-gated", "-x", o.Room.String()}, o.Spec.Args()...)
	cmd.Dir = "/"
	cmd.Env = o.environment()
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs} // linkFD
	// A session of its own: what is typed at our terminal is not for rooms.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := sandbox.Relaxed(cmd.Start); err != nil {
		conn.Close()
		crash.Close()
		return nil, fmt.Errorf("start %s: %w", o.Room, err)
	}
	p := &Process{PID: cmd.Process.Pid, Started: time.Now(), Link: conn, order: o, events: e, cmd: cmd}
	go p.follow(crash)
	return p, nil
}

// environment is all that the process is told by it.
func (o *Order) environment() []string {
	if len(o.Spec.Words) == 0 {
		return host.ScriptEnvironment()
	}
	env := []string{"GOTRACEBACK=single"}
	if o.Threads > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(o.Threads))
	}
	if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// follow follows a process until its end.
func (p *Process) follow(crash *os.File) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer crash.Close()
		if !readLines(crash, p.events.Line) {
			p.KillLater() // one that crashes ends by itself, and we learn how
		}
	}()
	go func() { p.events.LinkEnded(p.Link.Serve(p.events.Message)) }()
	err := p.cmd.Wait()
	crash.SetReadDeadline(time.Now().Add(lateCrash))
	<-read
	p.events.Ended(err)
}

// Cause words the error of Ended.
func Cause(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// Refused tells by the error of Ended whether a process ended because it could not begin
// its work, and said so: one that panics has another exit status.
func Refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1
}

// Forbidden tells by the error of Ended whether the kernel has ended a process for a call
// after which none of it may go on. Of others Line hears.
func Forbidden(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGSYS
}

// Tell sends it something. A process that has gone does not need it: that is no error.
func (p *Process) Tell(msg imsg.Notice, files ...*os.File) error {
	err := p.Link.Send(msg, files...)
	if errors.Is(err, imsg.Gone) {
		return nil
	}
	return err
}

// Ping asks it whether it works. An answer within a limit counts at once, and is told.
func (p *Process) Ping(limit time.Duration, answered func(*imsg.Pong)) {
	p.silent.Add(1)
	go func() {
		if pong, err := link.Ask(p.Link, &imsg.Ping{}, limit); err == nil {
			p.silent.Store(0)
			answered(pong)
		}
	}()
}

// Silent is how many pings in a row have no answer.
func (p *Process) Silent() int { return int(p.silent.Load()) }

// ForgiveSilence has none of the pings count that have no answer.
func (p *Process) ForgiveSilence() { p.silent.Store(0) }

// Dismiss has it end: it does so by itself when its link ends, or is killed.
func (p *Process) Dismiss() {
	p.Link.Close()
	p.KillLater()
}

// KillLater is Kill after Grace.
func (p *Process) KillLater() { time.AfterFunc(Grace, p.Kill) }

// Kill ends it at once. Once it has ended that does nothing.
func (p *Process) Kill() {
	if p.killed.Swap(true) {
		return
	}
	kill := p.order.Kill
	if kill == nil {
		kill = (*os.Process).Kill
	}
	if err := kill(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.events.Unkillable(err)
	}
	time.AfterFunc(Grace, p.events.Stuck)
}

// Killed tells whether it was.
func (p *Process) Killed() bool { return p.killed.Load() }
