package heir

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// pair is both ends, ours and the bare one of the other.
func pair(t *testing.T) (*Conn, *os.File) {
	t.Helper()
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.file.Close()
		theirs.Close()
	})
	return ours, theirs
}

// TestManyFiles: what does not pass with one message comes with more of the same.
func TestManyFiles(t *testing.T) {
	for _, n := range []int{0, 1, maxFiles, maxFiles + 1, 2*maxFiles + 50} {
		ours, theirs := pair(t)
		elder, err := Open(theirs)
		if err != nil {
			t.Fatal(err)
		}
		var files []*os.File
		for i := range n {
			f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			fmt.Fprint(f, i)
			files = append(files, f)
		}
		facts := &ListenerFacts{Addr: netip.MustParseAddrPort("[::1]:25"), Name: "smtp", Given: true, Open: n, Backlog: 7}
		said := make(chan error, 1)
		go func() { said <- elder.Send(&Message{Word: Listener, Listener: facts}, files...) }()
		for i := 0; i < n || i == 0; {
			m, got, err := ours.Receive(imsgtest.Deadline())
			if err != nil || m.Word != Listener || *m.Listener != *facts {
				t.Fatalf("%d files: %+v, %v", n, m, err)
			}
			for _, f := range got {
				text := make([]byte, 10)
				k, _ := f.ReadAt(text, 0)
				if string(text[:k]) != fmt.Sprint(i) {
					t.Errorf("file %d of %d has %q", i, n, text[:k])
				}
				if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Error("a file is for programs that we start:", err)
				}
				f.Close()
				i++
			}
			if n == 0 {
				break
			}
		}
		if err := <-said; err != nil {
			t.Error(err)
		}
	}
}

// TestTickets: keys, which are any octets, arrive as they are.
func TestTickets(t *testing.T) {
	ours, theirs := pair(t)
	elder, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	want := []imsg.TicketKey{{ID: "\x00\xff\n01234", Secret: strings.Repeat("\x80\x00", 16)}, {ID: "76543210", Secret: strings.Repeat("x", 32)}}
	if err := elder.Send(&Message{Word: Estate, Tickets: want}); err != nil {
		t.Fatal(err)
	}
	m, _, err := ours.Receive(imsgtest.Deadline())
	if err != nil || !slices.Equal(m.Tickets, want) {
		t.Errorf("%+v, %v", m, err)
	}
}

// open counts our descriptors.
func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestRefusedMessages: what is no message is an error, and its descriptors are closed.
func TestRefusedMessages(t *testing.T) {
	var fds []int
	for range maxFiles + 50 {
		fds = append(fds, int(os.Stdin.Fd()))
	}
	good, err := msgpack.Marshal(&Message{Word: Ready})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		say   []byte
		files int
		want  string
	}{
		{"garbage", []byte{0xc1}, 1, "msgpack"},
		{"another type", []byte{0xa1, 'x'}, 1, "msgpack"},
		{"half of one", good[:len(good)-1], 1, "EOF"},
		{"long", make([]byte, maxMessage+1), 1, "cut short"},
		{"many files", good, maxFiles + 50, "cut short"},
	} {
		ours, theirs := pair(t)
		if err := unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxMessage); err != nil {
			t.Fatal(err)
		}
		before := open(t)
		if err := unix.Sendmsg(int(theirs.Fd()), c.say, unix.UnixRights(fds[:c.files]...), nil, 0); err != nil {
			t.Fatal(c.name, err)
		}
		m, files, err := ours.Receive(imsgtest.Deadline())
		if err == nil || !strings.Contains(err.Error(), c.want) || len(files) > 0 {
			t.Errorf("%s: %+v, %d files, %v", c.name, m, len(files), err)
		}
		if after := open(t); after != before {
			t.Errorf("%s: %d descriptors were open, %d are", c.name, before, after)
		}
	}
	ours, _ := pair(t)
	if err := ours.Send(&Message{Word: Failed, Text: strings.Repeat("x", maxMessage)}); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Error(err)
	}
}

// TestSilence: who waits for a message waits no longer than it wants to, and who speaks to
// one that does not read, neither.
func TestSilence(t *testing.T) {
	ours, theirs := pair(t)
	if _, _, err := ours.Receive(time.Now().Add(time.Millisecond)); err == nil || !strings.Contains(err.Error(), "says nothing") {
		t.Error(err)
	}
	if _, _, err := ours.Receive(time.Now().Add(-time.Hour)); err == nil || !strings.Contains(err.Error(), "says nothing") {
		t.Error("after its time:", err)
	}
	var err error
	for range 1000 {
		if err = ours.Send(&Message{Word: Failed, Text: strings.Repeat("x", maxMessage/2)}); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Error(err)
	}
	theirs.Close()
	if err := ours.Send(&Message{Word: Ready}); err == nil {
		t.Error("who has gone is spoken to")
	}
}

// TestEnd: the end of either is heard by both.
func TestEnd(t *testing.T) {
	ours, theirs := pair(t)
	elder, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if err := elder.Send(&Message{Word: Ready}); err != nil {
		t.Fatal(err)
	}
	ended, heard := make(chan error, 1), make(chan Word, 2)
	go func() { ended <- ours.Serve(func(m *Message, _ []*os.File) { heard <- m.Word }) }()
	if w := imsgtest.Receive(t, "a word", heard); w != Ready {
		t.Error(w)
	}
	ours.Close()
	if err := imsgtest.Receive(t, "our end", ended); err != nil {
		t.Error(err)
	}
	if _, _, err := elder.Receive(time.Time{}); err != io.EOF {
		t.Error(err)
	}
	ours.Close() // again
}

// TestUnderstands: who cannot take over says by what, and what to do instead.
func TestUnderstands(t *testing.T) {
	for _, c := range []struct {
		change func(m *Message)
		want   string
	}{
		{func(*Message) {}, ""},
		{func(m *Message) { m.Version = "another" }, ""},
		{func(m *Message) { m.Word = Estate }, "hands nothing over"},
		{func(m *Message) { m.Protocol++ }, "version 1.2.3, hands over by protocol 2, this program takes over by protocol 1: it needs a restart"},
		{func(m *Message) { m.Protocol = 0 }, "protocol 0"},
		{func(m *Message) { m.Language++ }, "version 1.2.3, would not understand this program: it needs a restart"},
	} {
		m := Introduce("1.2.3")
		c.change(m)
		err := Understands(m)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestUnknownFields: what another version says besides is passed over, at any depth, and
// what it does not say is zero.
func TestUnknownFields(t *testing.T) {
	b, err := msgpack.Marshal(map[string]any{
		"Word": Family, "Weather": "fine", "Moons": []int{1, 2},
		"Members":  []map[string]any{{"Room": imsg.Session, "PID": 7, "Mood": map[string]int{"good": 1}}},
		"Listener": map[string]any{"Name": "smtp", "Colour": "red"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := pair(t)
	if _, err := theirs.Write(b); err != nil {
		t.Fatal(err)
	}
	m, _, err := ours.Receive(imsgtest.Deadline())
	if err != nil || m.Word != Family || len(m.Members) != 1 || m.Members[0].PID != 7 || m.Members[0].Room != imsg.Session || m.Listener == nil || m.Listener.Name != "smtp" {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestLastWord: what the other end has said is heard, though it has gone and did not read
// what was said to it.
func TestLastWord(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ours.Send(&Message{Word: Estate}); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Send(&Message{Word: Failed, Text: "why"}); err != nil {
		t.Fatal(err)
	}
	conn.file.Close()
	if ours.Send(&Message{Word: Estate}) == nil {
		t.Error("nobody is told that it is gone")
	}
	var heard []string
	if err := ours.Serve(func(m *Message, _ []*os.File) { heard = append(heard, m.Text) }); err != nil {
		t.Error(err)
	}
	if len(heard) != 1 || heard[0] != "why" {
		t.Errorf("heard %q", heard)
	}
}
