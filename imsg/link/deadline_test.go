package link

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestNothingIsJudgedLate has a room that was held up: questions wait for it
// whose askers have gone.
func TestNothingIsJudgedLate(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	serve(s, func(Request) {})
	for _, m := range []imsg.Message{&imsg.Enter{Client: anybody}, &imsg.Ident{}, &imsg.QuotaUse{Counter: imsg.RateMessages}, &imsg.Offence{Number: 7, Transaction: 1, Found: imsg.FoundVirus}} {
		if _, err := s.call(nil, m, time.Millisecond, nil); err != imsg.Timeout {
			t.Fatalf("%T: %v", m, err)
		}
	}
	s.Send(&imsg.Leave{Number: 1})
	handled := make(chan Request, 8)
	serve(l, func(r Request) { handled <- r })
	// A report is none: what happened, happened.
	if r := wait(t, handled); !is[*imsg.Offence](r) || r.Late() {
		t.Errorf("%T is judged", r.Message)
	}
	if r := wait(t, handled); !is[*imsg.Leave](r) || r.Late() {
		t.Errorf("%T is judged", r.Message)
	}
	go Ask(s, &imsg.Enter{Client: anybody}, 10*time.Second)
	r := wait(t, handled)
	if left := time.Until(r.Until); r.Late() || left <= 0 || left > 10*time.Second {
		t.Errorf("%v left of 10 s", left)
	}
}

// The files of a question that is not judged are closed.
func TestLateQuestionLeavesNoFiles(t *testing.T) {
	s, c := link(t, imsg.Session, imsg.Scand)
	serve(s, func(Request) {})
	f, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Ask(s, &imsg.Scan{}, time.Millisecond, w); err != imsg.Timeout {
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
	use := imsg.QuotaUse{Number: 9, Counter: imsg.RateBytes, Amount: 1000}
	for _, row := range []struct {
		name         string
		answer, back imsg.Message // nil: nothing
	}{
		{"a place", &imsg.Admission{Number: 9}, &imsg.Leave{Number: 9, Late: true}},
		{"no place", &imsg.Admission{Number: 9, Refusal: imsg.RefusedHost}, nil},
		{"a use", &imsg.QuotaResult{QuotaUse: use}, &imsg.QuotaUnused{QuotaUse: use}},
		{"no use", &imsg.QuotaResult{QuotaUse: use, Refusal: imsg.RefusedRate}, nil},
		{"a server called", &imsg.QuotaResult{QuotaUse: imsg.QuotaUse{Number: 9, Counter: imsg.RateTargets}}, nil},
		{"an outcome", &imsg.Done{}, nil},
		{"a failure", &imsg.Failure{Errno: imsg.Busy}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, l := link(t, imsg.Session, imsg.Lockd)
			told := make(chan imsg.Message, 2)
			serve(s, func(Request) {})
			serve(l, func(r Request) {
				told <- r.Message
				if is[*imsg.Enter](r) {
					r.answer(&imsg.Admission{Number: 2})
				}
			})
			if err := l.send(imsg.Row(row.answer), row.answer, header{id: 4711}, nil); err != nil {
				t.Fatal(err)
			}
			if row.back != nil {
				compare(t, wait(t, told), row.back)
			}
			// Nothing else came of it, and the next call has an answer of its own.
			a, err := Ask(s, &imsg.Enter{Client: anybody}, 10*time.Second)
			if m := wait(t, told); !isMessage[*imsg.Enter](m) {
				t.Errorf("%T %+v was told", m, m)
			}
			if err != nil || a.Number != 2 {
				t.Errorf("after a late answer: %+v, %v", a, err)
			}
		})
	}
}

func compare(t *testing.T, got, want imsg.Message) {
	t.Helper()
	a, err := encode(got, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encode(want, 0)
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
	const apart = int64(time.Millisecond) // of the moments at which they were set against each other
	if after := monotonic(); before <= 0 || now.Nano() < before-apart || after < now.Nano()-apart {
		t.Errorf("%d, %d, %d", before, now.Nano(), after)
	}
}

// A report is told even if as many questions as may be are open.
func TestReportPassesOpenQuestions(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	serve(s, func(Request) {})
	asked := make(chan Request, maxFlight)
	serve(l, func(r Request) {
		if is[*imsg.Offence](r) {
			r.answer(&imsg.Done{})
		} else {
			asked <- r
		}
	})
	for range maxFlight {
		go Ask(s, &imsg.Enter{Client: anybody}, time.Minute)
	}
	for range maxFlight {
		wait(t, asked)
	}
	if _, err := Ask(s, &imsg.Enter{Client: anybody}, time.Millisecond); err != imsg.Busy {
		t.Errorf("one question too many: %v", err)
	}
	if _, err := Ask(s, &imsg.Offence{Transaction: 1, Found: imsg.FoundVirus}, 10*time.Second); err != nil {
		t.Errorf("a report: %v", err)
	}
}
