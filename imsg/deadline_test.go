package imsg

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestNothingIsJudgedLate has a room that was held up: questions wait for it
// whose askers have gone.
func TestNothingIsJudgedLate(t *testing.T) {
	s, l := link(t, Session, Lockd)
	serve(s, func(Request) {})
	for _, m := range []Message{&Enter{}, &Ident{}, &Use{}, &Offence{Number: 7}} {
		if _, err := s.Call(m, time.Millisecond); err != Timeout {
			t.Fatalf("%T: %v", m, err)
		}
	}
	s.Send(&Leave{Number: 1})
	handled := make(chan Request, 8)
	serve(l, func(r Request) { handled <- r })
	// A report is none: what happened, happened.
	if r := wait(t, handled); r.Message.Type() != tOffence || r.Late() {
		t.Errorf("%T is judged", r.Message)
	}
	if r := wait(t, handled); r.Message.Type() != tLeave || r.Late() {
		t.Errorf("%T is judged", r.Message)
	}
	go s.Call(&Enter{}, 10*time.Second)
	r := wait(t, handled)
	if left := time.Until(r.Until); r.Late() || left <= 0 || left > 10*time.Second {
		t.Errorf("%v left of 10 s", left)
	}
}

// The files of a question that is not judged are closed.
func TestLateQuestionLeavesNoFiles(t *testing.T) {
	s, c := link(t, Session, Scand)
	serve(s, func(Request) {})
	f, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := s.Call(&Scan{}, time.Millisecond, w); err != Timeout {
		t.Fatal(err)
	}
	w.Close()
	serve(c, func(r Request) { t.Errorf("%T is judged", r.Message) })
	f.SetReadDeadline(imsgtest.Deadline())
	if n, err := f.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("the file is held: %d, %v", n, err)
	}
}

// TestLateAnswersAreGivenBack has every kind of answer come for a call that is
// open no more, and expects that nobody keeps what nobody heard of.
func TestLateAnswersAreGivenBack(t *testing.T) {
	use := Use{Number: 9, Counter: RateBytes, Amount: 1000}
	for _, row := range []struct {
		name         string
		answer, back Message // nil: nothing
	}{
		{"a place", &Admission{Number: 9}, &Leave{Number: 9, Late: true}},
		{"no place", &Admission{Number: 9, Refusal: RefusedHost}, nil},
		{"a use", &Allowance{Use: use}, &Unused{use}},
		{"no use", &Allowance{Use: use, Refusal: RefusedRate}, nil},
		{"a server called", &Allowance{Use: Use{Number: 9, Counter: RateTargets}}, nil},
		{"an outcome", &Done{}, nil},
		{"a failure", &Failure{Busy}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, l := link(t, Session, Lockd)
			told := make(chan Message, 2)
			serve(s, func(Request) {})
			serve(l, func(r Request) {
				told <- r.Message
				if r.Message.Type() == tEnter {
					r.Answer(&Admission{Number: 2})
				}
			})
			if err := l.send(row.answer, header{id: 4711}, nil); err != nil {
				t.Fatal(err)
			}
			if row.back != nil {
				compare(t, wait(t, told), row.back)
			}
			// Nothing else came of it, and the next call has an answer of its own.
			a, err := s.Call(&Enter{}, 10*time.Second)
			if m := wait(t, told); m.Type() != tEnter {
				t.Errorf("%T %+v was told", m, m)
			}
			if err != nil || a.(*Admission).Number != 2 {
				t.Errorf("after a late answer: %+v, %v", a, err)
			}
		})
	}
}

func compare(t *testing.T, got, want Message) {
	t.Helper()
	a, err := new2().encode(got, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := new2().encode(want, 0)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%T %+v, want %T %+v", got, got, want, want)
	}
}

// Every process reads the same clock, or a deadline would mean nothing.
func TestClock(t *testing.T) {
	var now unix.Timespec
	before := monotonic()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if after := monotonic(); before <= 0 || now.Nano() < before || after < now.Nano() {
		t.Errorf("%d, %d, %d", before, now.Nano(), after)
	}
}

// A report is told even if as many questions as may be are open.
func TestReportPassesOpenQuestions(t *testing.T) {
	s, l := link(t, Session, Lockd)
	serve(s, func(Request) {})
	asked := make(chan Request, maxFlight)
	serve(l, func(r Request) {
		if r.Message.Type() == tOffence {
			r.Answer(&Done{})
		} else {
			asked <- r
		}
	})
	for range maxFlight {
		go s.Call(&Enter{}, time.Minute)
	}
	for range maxFlight {
		wait(t, asked)
	}
	if _, err := s.Call(&Enter{}, time.Millisecond); err != Busy {
		t.Errorf("one question too many: %v", err)
	}
	if _, err := s.Call(&Offence{}, 10*time.Second); err != nil {
		t.Errorf("a report: %v", err)
	}
}
