package control

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// follow asks for events, and has them waited for.
func (d *desk) follow(c *link.Conn) <-chan error {
	d.t.Helper()
	answer := make(chan error, 1)
	go func() {
		_, err := link.Ask(c, &imsg.EventsAfter{After: 1 << 63, Wait: time.Minute}, time.Minute)
		answer <- err
	}()
	return answer
}

// following waits until so many follow events at a socket.
func (d *desk) following(role imsg.Room, n int) {
	d.t.Helper()
	imsgtest.Until(d.t, "followers", func() bool {
		l := d.listener(role)
		l.mu.Lock()
		defer l.mu.Unlock()
		here := 0
		for o := range l.operators {
			if o.follows {
				here++
			}
		}
		return here == n
	})
}

// state is all that an order could change here.
func (d *desk) state() string {
	d.t.Helper()
	files, err := os.ReadDir(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	text := ""
	for _, f := range files {
		content, _ := os.ReadFile(d.dir + "/" + f.Name())
		text += f.Name() + "=" + string(content) + "\n"
	}
	return text + fmt.Sprint("exempt=", d.Exempt.Len())
}

// TestReadersChangeNothing says all there is in the table to the read socket. What it
// answers changes nothing, and nothing else gets as far as to be answered.
func TestReadersChangeNothing(t *testing.T) {
	h := open(t, usual())
	h.write("192.0.2.7", "VIRUS\n")
	before := h.state()
	happened := false
	h.Happened = func(imsg.Event) { happened = true }
	// What each of these does was looked at: it reads.
	reads := []imsg.Message{
		&imsg.Status{}, &imsg.Sessions{}, &imsg.Locks{}, &imsg.Rates{}, &imsg.RateShow{Client: "192.0.2.7"}, &imsg.EventsAfter{}, &imsg.Explain{About: "192.0.2.7"},
		&imsg.Exemptions{},
	}
	for i := range imsg.Table {
		e := &imsg.Table[i]
		if !e.Crosses(imsg.Reader, imsg.Lockd) {
			continue
		}
		m := e.New()
		for _, field := range []string{"Name", "Client", "About", "Who"} {
			if f := reflect.ValueOf(m).Elem().FieldByName(field); f.Kind() == reflect.String {
				f.SetString("192.0.2.7")
			}
		}
		if e.Check(m) != nil {
			imsgtest.Honest(reflect.ValueOf(m).Elem())
		}
		c := h.connectAs(imsg.Reader, 0) // be it root
		err := askAny(c, m, slices.Repeat([]*os.File{imsgtest.TempFile(t)}, e.Files)...)
		looks := slices.ContainsFunc(reads, func(m imsg.Message) bool { return imsg.Row(m) == e })
		if looks == (err == imsg.ReadOnly) {
			t.Errorf("%s: %v, and a reader may ask it: %t", e.Name, err, looks)
		}
		ask(t, c, &imsg.Locks{})
	}
	if after := h.state(); after != before || happened || len(h.asked) > 0 {
		t.Errorf("something has changed: was\n%sis\n%s", before, after)
	}
	h.log.HasNot(t, "operator's order")
	// The same, said by an operator, is done.
	if d := ask(t, h.connect(), &imsg.Unlock{Name: "192.0.2.7"}); d.Errno != 0 || h.state() == before {
		t.Errorf("%+v", d)
	}
}

// askAny asks what may be any question.
func askAny(c *link.Conn, m imsg.Message, files ...*os.File) (err error) {
	switch m := m.(type) {
	case imsg.Question[imsg.Done]:
		_, err = link.Ask(c, m, patience, files...)
	case imsg.Question[imsg.FileVerdict]:
		_, err = link.Ask(c, m, patience, files...)
	case imsg.Question[imsg.StatusReport]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.SessionList]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.LockList]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.RateList]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.RateRecord]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.EventList]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.Explanation]:
		_, err = link.Ask(c, m, patience)
	case imsg.Question[imsg.ExemptionList]:
		_, err = link.Ask(c, m, patience)
	default:
		err = imsg.ReadOnly // and not one that is asked
	}
	return err
}

// TestStreams: of the readers' seats so many are for those who follow events. Who has one
// keeps it, until somebody comes who has none, and another has two more.
func TestStreams(t *testing.T) {
	h := open(t, usual())
	there := seating[imsg.Reader]
	var ends []<-chan error
	for n := range there.streams {
		ends = append(ends, h.follow(h.connectAs(imsg.Reader, 1000)))
		h.following(imsg.Reader, n+1)
	}
	late := h.connectAs(imsg.Reader, 1000)
	if err := receive(t, h.follow(late)); err != imsg.Busy {
		t.Errorf("one too many: %v", err)
	}
	ask(t, late, &imsg.Status{})
	ask(t, late, &imsg.EventsAfter{After: 1 << 63}) // who does not wait needs none
	end := h.follow(h.connectAs(imsg.Reader, 1001))
	if err := receive(t, ends[0]); err != imsg.Gone {
		t.Errorf("who followed for the longest time: %v", err)
	}
	h.following(imsg.Reader, there.streams)
	for _, end := range append(ends[1:], end) {
		select {
		case err := <-end:
			t.Errorf("one lost its seat: %v", err)
		default:
		}
	}
}

// TestReadersShare: one user's readers leave others theirs, and the operators theirs.
func TestReadersShare(t *testing.T) {
	h := open(t, usual())
	there := seating[imsg.Reader]
	h.House.(*empty).mu.Lock() // nothing that looks at a file is answered
	waiting := make(chan error, 2*there.all)
	for range there.all {
		c := h.connectAs(imsg.Reader, 1000)
		go func() {
			_, err := link.Ask(c, &imsg.Locks{}, patience)
			waiting <- err
		}()
	}
	imsgtest.Until(t, "all seats are taken", func() bool {
		h.readers.mu.Lock()
		defer h.readers.mu.Unlock()
		n := 0
		for o := range h.readers.operators {
			if o.asking {
				n++
			}
		}
		return n == there.all
	})
	if err := receive(t, h.follow(h.connectAs(imsg.Reader, 1000))); err != imsg.Gone {
		t.Errorf("one more of the same user's: %v", err)
	}
	ask(t, h.connectAs(imsg.Reader, 1001), &imsg.EventsAfter{})
	if err := receive(t, waiting); err != imsg.Gone {
		t.Errorf("who made way: %v", err)
	}
	ask(t, h.connect(), &imsg.Sessions{})
	h.House.(*empty).mu.Unlock()
}

// TestRootFindsASeat: among operators that all wait, root does not.
func TestRootFindsASeat(t *testing.T) {
	h := open(t, usual())
	there := seating[imsg.Control]
	var ends []<-chan error
	for n := range there.all {
		ends = append(ends, h.follow(h.connectAs(imsg.Control, 1000*(n%2)))) // root has every other
		h.following(imsg.Control, n+1)
	}
	if err := askAny(h.connectAs(imsg.Control, 1000), &imsg.Status{}); err != imsg.Gone {
		t.Errorf("who is not root: %v", err)
	}
	// First those who are not, then its own, in the order in which they began to wait.
	for n := range there.all {
		h.follow(h.connectAs(imsg.Control, 0))
		if err := receive(t, ends[(2*n+1)%(there.all+1)]); err != imsg.Gone {
			t.Errorf("number %d to make way: %v", n, err)
		}
		h.following(imsg.Control, there.all)
	}
}

// TestHostileReaders: whatever is said at the read socket, operators are answered, and so
// is a reader who means well and is somebody else.
func TestHostileReaders(t *testing.T) {
	h := open(t, usual())
	status, err := frameOf(&imsg.Status{})
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var all sync.WaitGroup
	attack := func(do func(fd int)) {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				f := h.dial(imsg.Reader, "")
				do(int(f.Fd()))
				f.Close()
			}
		})
	}
	write := func(fd int, b []byte) bool { return unix.Sendto(fd, b, unix.MSG_NOSIGNAL, nil) == nil }
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return b
	}
	for range 4 {
		attack(func(int) {})                                                  // comes and goes
		attack(func(fd int) { write(fd, random(1+rand.IntN(2048))) })         // junk
		attack(func(fd int) { write(fd, status[:rand.IntN(len(status))+1]) }) // part of a question
		attack(func(fd int) {                                                 // asks without end, and reads nothing
			for range 4096 {
				if !write(fd, status) {
					return
				}
			}
		})
		attack(func(fd int) { // hands over what nobody wants
			unix.Sendmsg(fd, status, unix.UnixRights(fd, fd, fd), nil, unix.MSG_NOSIGNAL)
		})
	}
	operator := h.connect()
	for range 100 {
		ask(t, operator, &imsg.Status{})
		ask(t, h.connect(), &imsg.Locks{})
	}
	imsgtest.Until(t, "a reader is answered", func() bool { return askAny(h.connectAs(imsg.Reader, 1001), &imsg.Status{}) == nil })
	close(end)
	all.Wait()
	ask(t, h.connectAs(imsg.Reader, 1000), &imsg.Status{})
}

// frameOf is a message as it is on the wire.
func frameOf(m imsg.Question[imsg.StatusReport]) ([]byte, error) {
	near, far, err := link.Pair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	c, err := link.NewConn(near, imsg.Control, imsg.Lockd)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	go link.Ask(c, m, 10*time.Second)
	frame := make([]byte, 1<<16)
	fd := int(far.Fd()) // waits
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, err
	}
	n, err := unix.Read(fd, frame)
	return frame[:max(n, 0)], err
}
