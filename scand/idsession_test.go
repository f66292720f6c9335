package scand

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/loop"
)

// turn is what a clamd of these tests does with one question.
type turn struct {
	answer string
	closes bool   // at once
	hangs  bool   // until who asked has given up
	later  string // is said when the scan is over
	leaves bool   // then
}

// scripted is clamd that takes its turns, those of its first connection and so on.
type scripted struct {
	turns [][]turn

	mu     sync.Mutex
	conns  int
	giveUp context.CancelFunc // ends the scan that is under way
	later  func()             // is due when the scan is over
}

func (f *scripted) serve(c net.Conn) {
	f.mu.Lock()
	n := f.conns
	f.conns++
	f.mu.Unlock()
	if n >= len(f.turns) {
		return
	}
	s := newClamdSide(c)
	for _, turn := range f.turns[n] {
		if _, _, err := s.question(); err != nil {
			return
		}
		f.mu.Lock()
		f.later = func() {
			io.WriteString(c, turn.later)
			if turn.leaves {
				c.Close()
			}
		}
		giveUp := f.giveUp
		f.mu.Unlock()
		if turn.hangs {
			giveUp()
		}
		io.WriteString(c, turn.answer)
		if turn.closes {
			return
		}
	}
	s.question() // until it is closed
}

// scan has e look at a message, and does what is due later.
func (f *scripted) scan(t *testing.T, e engine) (finding, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.mu.Lock()
	f.giveUp, f.later = cancel, func() {}
	f.mu.Unlock()
	found, err := e.scan(ctx, &message{file: spool(t, mail), size: int64(len(mail)), name: "1.2"})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.later()
	return found, err
}

// eachWay has a scan go each way it can: in a goroutine of its own, and as work in a loop
// and in what stands in for one.
func eachWay(t *testing.T, test func(t *testing.T, way func(engine) engine)) {
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("goroutine", func(t *testing.T) { test(t, func(e engine) engine { return e }) })
	t.Run("loop", func(t *testing.T) { test(t, func(e engine) engine { return working{e, l} }) })
	t.Run("no loop", func(t *testing.T) {
		test(t, func(e engine) engine { return working{e, loop.NewGoroutines()} })
	})
}

// working is an engine whose scans are work in a poller.
type working struct {
	engine
	loop.Poller
}

func (e working) scan(ctx context.Context, m *message) (f finding, err error) {
	w := &loop.Work{Poller: e.Poller}
	done := make(chan struct{})
	w.Start(func() {
		defer close(done)
		f, err = e.engine.scan(withWork(ctx, w), m)
	})
	<-done
	return f, err
}

// TestConversations: an answer counts for its own command alone, and a connection on
// which anything went wrong is used for no other scan.
func TestConversations(t *testing.T) {
	const (
		ok1, ok2 = "1: x: OK\x00", "2: x: OK\x00"
		bad1     = "1: x: V FOUND\x00"
	)
	type scans []string // clean, caught, or the words of a failure
	type dialog struct {
		turns [][]turn
		want  scans
	}
	all := map[string]dialog{
		"one connection": {
			[][]turn{{{answer: ok1}, {answer: "2: x: V FOUND\x00"}, {answer: "3: x: OK\x00"}}},
			scans{"clean", "caught", "clean"},
		},
		"a late answer": {
			[][]turn{{{hangs: true, later: ok1}}, {{answer: bad1}}},
			scans{"canceled", "caught"},
		},
		"a late answer, to the second": {
			[][]turn{{{answer: ok1}, {hangs: true, later: ok2}}, {{answer: bad1}}},
			scans{"clean", "canceled", "caught"},
		},
		"the answer before":                {[][]turn{{{answer: ok1}, {answer: ok1}}, {{answer: bad1}}}, scans{"clean", "no answer to command 2", "caught"}},
		"twice at once":                    {[][]turn{{{answer: ok1 + ok1}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"twice":                            {[][]turn{{{answer: ok1, later: ok1}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"the next answer, unasked":         {[][]turn{{{answer: ok1, later: ok2}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"a find behind another word":       {[][]turn{{{answer: ok1 + bad1}}, {{answer: ok1}}}, scans{"caught", "clean"}},
		"too slow a client":                {[][]turn{{{answer: ok1, later: "1: COMMAND READ TIMED OUT ERROR\x00", leaves: true}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"closed while idle":                {[][]turn{{{answer: ok1, leaves: true}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"closed before an octet":           {[][]turn{{{answer: ok1}, {closes: true}}, {{answer: bad1}}}, scans{"clean", "caught"}},
		"closed before an octet, fresh":    {[][]turn{{{closes: true}}, {{answer: bad1}}}, scans{"caught"}},
		"closed twice":                     {[][]turn{{{closes: true}}, {{closes: true}}, {{answer: ok1}}}, scans{"closed without an answer", "clean"}},
		"closed twice, the first was kept": {[][]turn{{{answer: ok1}, {closes: true}}, {{closes: true}}, {{answer: bad1}}}, scans{"clean", "closed without an answer", "caught"}},
	}
	for answer, problem := range map[string]string{
		ok2:                            "no answer to command 1",
		"0: x: OK\x00":                 "no answer to command 1",
		"01: x: OK\x00":                "no answer to command 1",
		"+1: x: OK\x00":                "no answer to command 1",
		" 1: x: OK\x00":                "no answer to command 1",
		"1:x: OK\x00":                  "no answer to command 1",
		"11: x: OK\x00":                "no answer to command 1",
		"x: OK\x00":                    "no answer to command 1",
		"1: OK\x00":                    "unknown answer",
		"fd[10]: V FOUND\x00":          "no answer to command 1",
		"UNKNOWN COMMAND\x00":          "UNKNOWN COMMAND",
		ok1 + ok2:                      "no answer to command 1",
		bad1 + ok2:                     "no answer to command 1",
		ok1 + "1: x: A ERROR\x00":      "more than one answer",
		ok1 + "1: x":                   "cut answer",
		ok1 + "\x00":                   "no answer to command 1",
		"\x00":                         "no answer to command 1",
		"1: \x00":                      "unknown answer",
		"1: fd[10]: No file ERROR\x00": "fd[10]: No file",
		"1: INSTREAM size limit exceeded. ERROR\x00":      "INSTREAM size limit exceeded.",
		"1: " + strings.Repeat("x", 100_000) + ": OK\x00": "longer than",
	} {
		all[imsg.Printable(answer, 40)] = dialog{[][]turn{{{answer: answer}}, {{answer: bad1}}}, scans{problem, "caught"}}
	}
	for _, answer := range []string{"1", "1: x", "1: x: OK", "1: x: OK\n", "x"} {
		all["closed behind "+imsg.Printable(answer, 40)] = dialog{[][]turn{{{answer: answer, closes: true}}, {{answer: bad1}}}, scans{"", "caught"}}
	}
	eachWay(t, func(t *testing.T, way func(engine) engine) {
		for network, method := range map[string]imsg.Method{"unix": imsg.MethodFildes, "tcp4": imsg.MethodInstream} {
			for name, tt := range all {
				t.Run(network+"/"+name, func(t *testing.T) {
					f := &scripted{turns: tt.turns}
					e := &clamd{at: addressOf(fake(t, network, f.serve)), method: method}
					defer e.Close()
					for i, want := range tt.want {
						found, err := f.scan(t, way(e))
						got := map[imsg.Outcome]string{imsg.Clean: "clean", imsg.Caught: "caught"}[found.outcome]
						if err != nil {
							got = "clamd: " + want
							if !strings.Contains(err.Error(), want) || want == "clean" || want == "caught" {
								got = err.Error()
							}
							want = "clamd: " + want
						}
						if got != want {
							t.Fatalf("scan %d: %q, want %q", i+1, got, want)
						}
					}
					f.mu.Lock()
					defer f.mu.Unlock()
					if f.conns != len(tt.turns) {
						t.Errorf("%d connections, want %d", f.conns, len(tt.turns))
					}
				})
			}
		}
	})
}

// TestAnswersSwapped: of two that are asked at once each has the other's answer.
func TestAnswersSwapped(t *testing.T) {
	var mu sync.Mutex
	conns := 0
	asked := make(chan net.Conn, 2)
	at := fake(t, "unix", func(c net.Conn) {
		mu.Lock()
		conns++
		first := conns == 1
		mu.Unlock()
		s := newClamdSide(c)
		if first {
			s.question()
			io.WriteString(c, "1: x: OK\x00")
		}
		if _, _, err := s.question(); err != nil {
			return
		}
		if asked <- c; len(asked) == 2 {
			one, other := <-asked, <-asked
			number := map[bool]string{true: "1", false: "2"}
			io.WriteString(one, number[(one == c) == first]+": x: OK\x00")
			io.WriteString(other, number[(other == c) == first]+": x: OK\x00")
		}
		s.question()
	})
	e := &clamd{at: addressOf(at), method: imsg.MethodFildes}
	defer e.Close()
	if f, err := look(t, e, mail, patience); err != nil {
		t.Fatalf("%+v %v", f, err)
	}
	ended := make(chan error, 2)
	for range cap(ended) {
		m := &message{file: spool(t, mail), size: int64(len(mail))}
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := e.scan(ctx, m)
			ended <- err
		}()
	}
	for range cap(ended) {
		if err := await(t, "a scan", ended); err == nil || !strings.Contains(err.Error(), "no answer to command") {
			t.Errorf("%v", err)
		}
	}
}

// TestClamdReplaced: another clamd listens at the same place, after a time without one.
func TestClamdReplaced(t *testing.T) {
	dir := short(t)
	place := filepath.Join(dir, "clamd.ctl")
	start := func(answers ...string) (stop func()) {
		l, err := net.Listen("unix", place)
		if err != nil {
			t.Fatal(err)
		}
		conns := make(chan net.Conn, 10)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					close(conns)
					return
				}
				conns <- c
				go func() {
					s := newClamdSide(c)
					for _, answer := range answers {
						s.question()
						io.WriteString(c, answer)
					}
				}()
			}
		}()
		return sync.OnceFunc(func() {
			l.Close()
			for c := range conns {
				c.Close()
			}
		})
	}
	e := &clamd{at: address{socket: place, name: "clamd.ctl"}, method: imsg.MethodFildes}
	defer e.Close()
	stop := start("1: x: OK\x00", "2: x: OK\x00")
	for range 2 {
		if f, err := look(t, e, mail, patience); err != nil || f.outcome != imsg.Clean {
			t.Errorf("the first: %+v %v", f, err)
		}
	}
	stop()
	if _, err := look(t, e, mail, patience); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "connect to clamd.ctl: connect: no such file") {
		t.Errorf("none: %v", err)
	}
	defer start("1: x: V FOUND\x00")()
	if f, err := look(t, e, mail, patience); err != nil || f.outcome != imsg.Caught {
		t.Errorf("the second: %+v %v", f, err)
	}
}

// goodbyes is clamd that tells of the goodbyes it hears.
func goodbyes(t *testing.T) (at net.Addr, said chan string) {
	said = make(chan string, 10)
	return fake(t, "unix", func(c net.Conn) {
		s := newClamdSide(c)
		s.question()
		io.WriteString(c, "1: x: OK\x00")
		rest, _ := io.ReadAll(s.in)
		said <- string(rest)
	}), said
}

// TestIdle: what no scan has used for long is ended, the rest is not.
func TestIdle(t *testing.T) {
	at, said := goodbyes(t)
	e := &clamd{at: addressOf(at), method: imsg.MethodFildes}
	defer e.Close()
	var all []*idsession
	for range 3 { // each takes the one before
		look(t, e, mail, patience)
		all = append(all, e.kept.take(t.Context()))
	}
	for i, s := range all {
		if s == nil || !s.detach() {
			t.Fatalf("connection %d was not kept", i+1)
		}
		e.kept.put(s)
	}
	all[0].idle = all[0].idle.Add(-maxIdle)
	all[1].idle = all[1].idle.Add(-maxIdle)
	e.kept.age()
	for range 2 {
		if rest := await(t, "a goodbye", said); rest != "zEND\x00" {
			t.Errorf("%q", rest)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if s := e.kept.take(ctx); s != all[2] {
		t.Error("the connection that was used is gone")
	} else if again := e.kept.take(ctx); again != nil {
		t.Error("a connection that was ended is there")
	} else {
		e.Close()
		s.detach()
		e.kept.put(s) // a scan is over when the room has ended
	}
	if rest := await(t, "a goodbye", said); rest != "zEND\x00" {
		t.Errorf("%q", rest)
	}
}

// TestGoodbye: a room that ends says goodbye, however it ends.
func TestGoodbye(t *testing.T) {
	for name, end := range map[string]func(house, func()){
		"drained":     func(h house, leave func()) { h.Parent.Send(&imsg.Drain{}); leave() },
		"parent ends": func(h house, _ func()) { h.Parent.Close() },
	} {
		at, said := goodbyes(t)
		conf := builtins()
		conf.Engines[virus].Engine, conf.Engines[virus].Socket = imsg.EngineClamd, at.String()
		h := open(t, conf)
		c := h.session()
		if v := ask(t, c, mail); v.virus.Outcome != imsg.Clean {
			t.Errorf("%s: %+v", name, v)
		}
		end(h, func() { c.Close() })
		if rest := await(t, "a goodbye", said); rest != "zEND\x00" {
			t.Errorf("%s: %q", name, rest)
		}
		await(t, "the end", h.Ended)
	}
}

// TestTimeIsOneForBoth: the second try has what time the first has left.
func TestTimeIsOneForBoth(t *testing.T) {
	limit := 300 * time.Millisecond
	var tries atomic.Int32
	at := fake(t, "unix", func(c net.Conn) {
		readClamd(c)
		if tries.Add(1) > 1 {
			io.Copy(io.Discard, c)
		}
	})
	e := &clamd{at: addressOf(at), method: imsg.MethodFildes}
	start := time.Now()
	_, err := look(t, e, mail, limit)
	var late net.Error
	if !errors.As(err, &late) || !late.Timeout() || time.Since(start) < limit {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// TestIdleKeepsNoScan: a connection that no scan uses keeps nothing of the last one.
func TestIdleKeepsNoScan(t *testing.T) {
	at, _ := goodbyes(t)
	e := &clamd{at: addressOf(at), method: imsg.MethodFildes}
	defer e.Close()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	m := func() weak.Pointer[message] {
		m := &message{file: spool(t, mail), size: int64(len(mail))}
		if _, err := (working{e, l}).scan(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		return weak.Make(m)
	}()
	until(t, "the last message is let go", func() bool {
		runtime.GC()
		return m.Value() == nil
	})
	if len(e.kept.all) != 1 {
		t.Error("none is kept")
	}
}
