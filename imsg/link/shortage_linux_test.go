package link

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// short runs what while no descriptor is free.
func short(t *testing.T, what func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	what()
}

// TestShortage: a receiver that has no descriptor free for what comes along does not blame
// its peer. A question fails alone; what is told is heard of, or ends the link.
func TestShortage(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	asker, scand := link(t, imsg.Session, imsg.Scand)
	serve(asker, func(Request) {})
	serve(scand, func(r Request) {
		r.Close()
		ReplyTo(r, &imsg.Scan{}).Answer(&imsg.Verdict{})
	})
	short(t, func() { _, err = Ask(asker, &imsg.Scan{}, imsgtest.Patience, file) })
	if err != imsg.Resource {
		t.Errorf("a scan without its file: %v", err)
	}
	if _, err := Ask(asker, &imsg.Scan{}, imsgtest.Patience, file); err != nil {
		t.Errorf("the next one: %v", err)
	}

	// What can be done without is passed over.
	lockd, session := link(t, imsg.Lockd, imsg.Session)
	serve(lockd, func(Request) {})
	told := make(chan imsg.Message, 3)
	serve(session, func(r Request) {
		r.Close()
		told <- r.Message
	})
	short(t, func() {
		if err := lockd.Send(&imsg.TraceFile{ID: 7, Share: 1}, file); err != nil {
			t.Fatal(err)
		}
		if err := lockd.Send(&imsg.TraceEnd{ID: 7}); err != nil {
			t.Fatal(err)
		}
		if m, ok := wait(t, told).(*imsg.TraceEnd); !ok {
			t.Errorf("told: %+v", m)
		}
	})

	for _, bears := range []bool{false, true} {
		parent, room := link(t, imsg.Parent, imsg.Scand)
		lost, heard := make(chan imsg.Message, 1), make(chan imsg.Message, 1)
		room.Lacking(func(m imsg.Message) bool {
			lost <- m
			return bears
		})
		end := serve(room, func(r Request) {
			r.Close()
			heard <- r.Message
		})
		short(t, func() {
			if err := parent.Send(&imsg.Peer{Room: imsg.Session, Member: 7}, file); err != nil {
				t.Fatal(err)
			}
			if m, ok := wait(t, lost).(*imsg.Peer); !ok || m.Member != 7 {
				t.Errorf("lost: %+v", m)
			}
		})
		if !bears {
			if err := wait(t, end); err == nil || errors.Is(err, ErrBadMessage) {
				t.Errorf("ended with %v", err)
			}
			continue
		}
		if err := parent.Send(&imsg.Peer{Room: imsg.Session, Member: 8}, file); err != nil {
			t.Fatal(err)
		}
		if m, ok := wait(t, heard).(*imsg.Peer); !ok || m.Member != 8 {
			t.Errorf("heard: %+v", m)
		}
	}
}

// TestLostByTheSender: descriptors that no message has are their sender's fault, though
// there is none free for them.
func TestLostByTheSender(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sender, scand := link(t, imsg.Parent, imsg.Scand)
	data, err := encode(&imsg.Start{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	setDeadline(data, 0)
	short(t, func() {
		sender.sendMu.Lock()
		err := sender.write(data, []*os.File{file})
		sender.sendMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		end := serve(scand, func(Request) { t.Error("it was heard") })
		select {
		case err := <-end:
			if !errors.Is(err, ErrBadMessage) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(imsgtest.Patience):
			t.Error("it goes on")
		}
	})
}
