package session

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// A refusal in the middle of a message is the answer to it. The client hears it
// once; the server hears nothing more and no end; the rest is discarded.
func TestAnsweredEarly(t *testing.T) {
	start := func(r *rig) {
		r.data()
		r.client.say("Subject: x\r\n\r\none\r\n")
		r.natHeader()
		r.server.hears("Subject: x\r\n\r\none\r\n")
	}
	for name, tc := range map[string]struct {
		start               func(r *rig)
		says, hears, reason string
	}{
		"5yz":            {start, "552 5.3.4 too big\r\n", "552 5.3.4 too big\r\n", "552 5.3.4 too big"},
		"4yz":            {start, "452 4.3.1 full\r\n", "452 4.3.1 full\r\n", "452 4.3.1 full"},
		"many lines":     {start, "552-too\n552-big\r\n552 \x01 \xff\r\n", "552-too\r\n552-big\r\n552 \x01 \xff\r\n", "552 # #"},
		"and more":       {start, "552 no\r\n250 what?\r\n500 \r\nrubbish", "552 no\r\n", "552 no"},
		"with the 354":   {func(r *rig) { r.ready(); r.toServer("DATA\r\n") }, "354 go\r\n554 no\r\n", "354 go\r\n554 no\r\n", "554 no"},
		"before a word":  {(*rig).data, "554 no\r\n", "554 no\r\n", "554 no"},
		"in two packets": {start, "552-too\r\n55|2 big\r\n", "552-too\r\n552 big\r\n", "552 big"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			tc.start(r)
			first, second, _ := strings.Cut(tc.says, "|")
			r.server.say(first)
			if second != "" {
				r.client.hears("552-too\r\n")
				tc.hears = strings.TrimPrefix(tc.hears, "552-too\r\n")
				r.client.say("two\r\n") // goes nowhere any more
				r.server.say(second)
			}
			r.client.hears(tc.hears)
			r.server.end()
			r.client.say("two\r\n" + harmless[:len(harmless)-3] + "QUIT\r\n.\n.\r\n" + strings.Repeat("three", 10_000) + "\r\n.\r\n")
			r.client.say("MAIL FROM:<c>\r\nQUIT\r\n")
			r.client.hears("451 4.3.2 gate.example " + tc.reason + "\r\n221 2.0.0 gate.example msg_sign_off\r\n")
			r.client.end()
			r.logs("DATA:CANCELLED [" + tc.reason[:3] + "]")
			r.logs("CLOSE:TAKEN")
			r.wantScanned()
			r.nothingSpooled()
		})
	}
}

// A 421 of more than one line right behind the 354 leaves the text what it is.
func TestLongFarewellBehind354(t *testing.T) {
	r := newRig(t, nil)
	r.ready()
	r.toServer("DATA\r\n")
	r.toClient("354 go\r\n421-bye\r\n")
	r.client.say("Subject: x\r\n\r\nNOOP\r\n")
	r.natHeader()
	r.server.hears("Subject: x\r\n\r\nNOOP\r\n")
	r.toClient("421 bye\r\n")
	r.client.end()
	r.server.end()
}

// The same while the verdict is awaited: what is found counts all the same, but
// the client has had its answer.
func TestAnsweredBeforeVerdict(t *testing.T) {
	data := func(r *rig) {
		r.data()
		r.text("x\r\n")
		r.client.say(".\r\n")
	}
	chunk := func(r *rig) {
		r.envelope()
		r.client.say("BDAT 1 LAST\r\nx")
		r.natChunk()
		r.server.hears("BDAT 1\r\nx")
		r.server.say("250 ok\r\n")
	}
	infected := found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{Outcome: imsg.Clean})
	for name, tc := range map[string]struct {
		message     func(r *rig)
		verdict     imsg.Verdict
		says, hears string
		over        bool
	}{
		"clean":              {data, found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean}), "552 no\r\n", "552 no\r\n", false},
		"infected":           {data, infected, "552 no\r\n", "552 no\r\n", false},
		"spam":               {data, found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean, Score: 100}), "552 no\r\n", "552 no\r\n", false},
		"scanner failed":     {data, found(imsg.Finding{Outcome: imsg.Failed}, imsg.Finding{}), "552 no\r\n", "552 no\r\n", false},
		"chunks, clean":      {chunk, found(imsg.Finding{Outcome: imsg.Clean}, imsg.Finding{Outcome: imsg.Clean}), "552 no\r\n", "552 no\r\n", false},
		"chunks, infected":   {chunk, infected, "552 no\r\n", "552 no\r\n", false},
		"nonsense, infected": {data, infected, "250 queued\r\n", "421 4.4.2 gate.example msg_proto_error\r\n", true},
		"421, infected":      {data, infected, "421 down\r\n", "421 down\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, scanChunks)
			answered := make(chan bool)
			r.set(func() {
				r.verdict = tc.verdict
				r.onScan = func(uint64) {
					r.server.say(tc.says)
					r.client.hears(tc.hears)
					close(answered)
				}
			})
			tc.message(r)
			wait(t, answered)
			r.server.end()
			if slices.ContainsFunc(tc.verdict.Findings, func(f imsg.Finding) bool { return f.Outcome == imsg.Caught }) {
				if o := r.offence(); o.Found != imsg.FoundVirus || o.Virus != "Eicar" || o.MailFrom != "a@client.example" {
					t.Errorf("offence %+v", o)
				}
				r.seen("a virus", func() bool { return r.counts[imsg.CountViruses] == 1 })
			}
			if tc.over {
				r.client.end()
				return
			}
			r.client.say("MAIL FROM:<c>\r\nQUIT\r\n")
			if line := r.client.line(); !strings.HasPrefix(line, "451 ") || !strings.HasSuffix(line, " gate.example 552 no") {
				t.Errorf("client hears %q", line)
			}
			r.client.line()
			r.client.end()
		})
	}
}

// What the server has said before the end goes out is heard first, however late
// its goroutine comes to it.
func TestEndIsNotReleasedBehindAnAnswer(t *testing.T) {
	r := newRig(t, nil)
	r.set(func() { r.onScan = func(uint64) { r.server.say("552 no\r\n") } })
	r.data()
	r.text("x\r\n")
	r.client.say(".\r\nQUIT\r\n")
	r.client.hears("552 no\r\n221 2.0.0 gate.example msg_sign_off\r\n")
	r.server.end()
}

// Nor behind the beginning of one.
func TestEndIsNotReleasedBehindHalfAnAnswer(t *testing.T) {
	for name, tc := range map[string]struct{ begin, rest, heard string }{
		"half a line":                  {"552 too", " big\r\n", "552 too big\r\n221 2.0.0 gate.example msg_sign_off\r\n"},
		"half a line, many lines":      {"552-t", "oo\r\n552 big\r\n", "552-too\r\n552 big\r\n221 2.0.0 gate.example msg_sign_off\r\n"},
		"a line of many, service ends": {"421-4.3.2 so\r\n", "421 4.3.2 long\r\n", "421-4.3.2 so\r\n421 4.3.2 long\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.data()
			r.server.say(tc.begin)
			time.Sleep(100 * time.Millisecond) // it is read
			r.text("x\r\n")
			r.client.say(".\r\nQUIT\r\n")
			r.seen("a scan", func() bool { return len(r.scanned) == 1 })
			time.Sleep(100 * time.Millisecond) // the verdict is there
			r.server.say(tc.rest)
			r.client.hears(tc.heard)
			r.server.end()
		})
	}
}

// The rest of a message that was refused on its way takes the time it takes:
// timeout_session is for what follows.
func TestRestIsDiscarded(t *testing.T) {
	for name, refuse := range map[string]func(r *rig) string{
		"by the server": func(r *rig) string { r.server.say("552 no\r\n"); return "552 no\r\n" },
		"by us": func(r *rig) string {
			r.client.say(strings.Repeat("x", 2000) + "\r\n")
			return "552 5.3.4 gate.example msg_size_limit (1000 octets at most)\r\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *imsg.SessionConfig) { c.TimeoutSession, c.SizeLimit = time.Second, 1000 })
			r.data()
			hears := refuse(r)
			for start := time.Now(); time.Since(start) < 4*time.Second; time.Sleep(100 * time.Millisecond) {
				r.client.say("a line\r\n")
			}
			r.client.say(".\r\nQUIT\r\n")
			r.client.hears(hears + "221 2.0.0 gate.example msg_sign_off\r\n")
		})
	}
}

// A client that listens only when it has sent its message hears the answer to it,
// although server and client do not take another word.
func TestAnsweredEarlyWhileAllIsFull(t *testing.T) {
	r := newRig(t, nil)
	r.data()
	// The server does not read.
	sent := make(chan bool)
	go func() {
		defer close(sent)
		io.WriteString(r.client.conn, strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)+".\r\nQUIT\r\n")
	}()
	stuck(func() int64 { return r.got(t) })
	r.server.say("552 no\r\n")
	wait(t, sent)
	r.client.hears("552 no\r\n221 2.0.0 gate.example msg_sign_off\r\n")
}

// A server that refuses a message and closes at once is heard, although nothing
// can be written to it any more.
func TestAnsweredEarlyAndClosed(t *testing.T) {
	for range 8 {
		r := newRig(t, nil)
		r.data()
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(r.client.conn, strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)+".\r\nQUIT\r\n")
			sent <- err
		}()
		stuck(func() int64 { return r.got(t) })
		r.server.say("552 no\r\n")
		r.server.conn.Close()
		if err := wait(t, sent); err != nil {
			t.Fatal(err)
		}
		r.client.hears("552 no\r\n221 2.0.0 gate.example msg_sign_off\r\n")
	}
}

// got is how much was read of the one client there is.
func (r *rig) got(t *testing.T) int64 {
	m, err := link.Ask(r.lockd, &imsg.Snapshot{}, imsgtest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	return int64(m.Sessions[0].ClientBytes)
}

// stuck waits until a number does not grow any more.
func stuck(n func() int64) {
	for last := int64(-1); last != n(); {
		last = n()
		time.Sleep(200 * time.Millisecond)
	}
}

// A refusal that nobody asked for, outside a message, is the server's farewell.
func TestFarewell(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare     func(r *rig)
		says, hears string
	}{
		"5yz":               {func(*rig) {}, "554 5.7.1 go away\r\n", "554 5.7.1 go away\r\n"},
		"4yz":               {func(*rig) {}, "451 idle too long\r\n", "451 idle too long\r\n"},
		"many lines":        {func(*rig) {}, "554-go\r\n554 away\r\n250 stay\r\n", "554-go\r\n554 away\r\n"},
		"behind an answer":  {func(r *rig) { r.toServer("NOOP\r\n") }, "250 ok\r\n554 bye\r\n", "250 ok\r\n554 bye\r\n"},
		"behind a refusal":  {func(r *rig) { r.toServer("NOOP\r\n") }, "550 no\r\n554 bye\r\n", "550 no\r\n554 bye\r\n"},
		"in AUTH":           {func(r *rig) { r.toServer("AUTH LOGIN\r\n") }, "334 x\r\n454 bye\r\n", "334 x\r\n454 bye\r\n"},
		"DATA refused":      {func(r *rig) { r.toServer("DATA\r\n") }, "451 no\r\n451 bye\r\n", "451 no\r\n451 bye\r\n"},
		"STARTTLS refused":  {func(r *rig) { r.toServer("STARTTLS\r\n") }, "454 no\r\n554 bye\r\n", "454 no\r\n554 bye\r\n"},
		"behind a message":  {func(r *rig) { r.midText(); r.client.say(".\r\n"); r.server.hears(".\r\n") }, "250 queued\r\n451 bye\r\n", "250 queued\r\n451 bye\r\n"},
		"behind our answer": {func(r *rig) { r.client.say("BURL\r\n"); r.client.hears("502 gate.example msg_unimpl_command\r\n") }, "554 bye\r\n", "554 bye\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.toClient("220 mx\r\n")
			tc.prepare(r)
			r.server.say(tc.says)
			r.client.hears(tc.hears)
			r.client.end()
			r.server.end()
			r.client.conn.Close()
			r.seen("Leave", func() bool { return len(r.left) == 1 })
		})
	}
	t.Run("not in a chunk", func(t *testing.T) {
		r := newRig(t, scanChunks)
		r.toClient("220 mx\r\n")
		r.midChunk()
		r.toClient("452 full\r\n") // that answers the chunk
		r.client.say(strings.Repeat("x", 100-len("some text\r\n")) + "NOOP\r\n")
		r.server.hears(strings.Repeat("x", 100-len("some text\r\n")) + "NOOP\r\n")
		r.toClient("250 ok\r\n")
	})
	t.Run("not for a greeting", func(t *testing.T) {
		r := newRig(t, nil)
		r.toClient("554 no service\r\n")
		r.toServer("QUIT\r\n")
		r.toClient("221 bye\r\n")
	})
	t.Run("not for STARTTLS", func(t *testing.T) {
		r := newRig(t, nil)
		r.toClient("220 mx\r\n")
		r.toServer("STARTTLS\r\n")
		r.toClient("454 not now\r\n")
		r.toServer("NOOP\r\n")
	})
}
