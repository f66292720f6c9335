package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// link returns both ends of a link between two rooms.
func link(t testing.TB, a, b imsg.Room) (*Conn, *Conn) {
	t.Helper()
	return ends(t, a, b, b, a)
}

// ends is link where the two need not agree on who they are.
func ends(t testing.TB, a, toA, b, toB imsg.Room) (*Conn, *Conn) {
	t.Helper()
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewConn(fa, a, toA)
	if err != nil {
		t.Fatal(err)
	}
	cb, err := NewConn(fb, b, toB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ca.Close(); cb.Close() })
	return ca, cb
}

// anybody is a client.
var anybody = netip.MustParseAddrPort("192.0.2.7:49152")

// serve runs the reader of c and returns what ended it.
func serve(c *Conn, h Handler) <-chan error {
	end := make(chan error, 1)
	go func() { end <- c.Serve(h) }()
	return end
}

func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, "an event", c)
}

// full returns a message of e's type in which every field has a value that is not its
// zero, and as wild as its rule lets it be.
func full(e *imsg.Entry) imsg.Message {
	m := e.New()
	fill(reflect.ValueOf(m).Elem(), 1, e.From.String() == imsg.Parent.String())
	return m
}

func fill(v reflect.Value, n int, wild bool) {
	switch v.Kind() {
	case reflect.Struct:
		switch v.Interface().(type) {
		case netip.Addr:
			v.Set(reflect.ValueOf(netip.MustParseAddr("2001:db8::25")))
			return
		case netip.AddrPort:
			v.Set(reflect.ValueOf(netip.MustParseAddrPort("203.0.113.7:51234")))
			return
		case netip.Prefix:
			v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/32")))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n+i, wild)
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			fill(v.Index(i), n+i, wild)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text%d", n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(math.Pi * float64(n))
	case reflect.Int, reflect.Int64, reflect.Int32:
		if !wild {
			v.SetInt(1 << (n % 7))
			return
		}
		v.SetInt(-1 << (n % 31))
	default:
		if !wild {
			v.SetUint(1)
			return
		}
		v.SetUint(uint64(n%250 + 1))
	}
}

func TestCodingEveryMessage(t *testing.T) {
	for i := range imsg.Table {
		e := &imsg.Table[i]
		for _, m := range []imsg.Message{e.New(), full(e)} {
			k := new2()
			frame, err := k.encode(imsg.Row(m), m, 7)
			if err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
			frame = bytes.Clone(frame)
			h, err := parseHeader(frame)
			if err != nil || h.typ != e.Type || h.id != 7 {
				t.Fatalf("%s: header %+v, %v", e.Name, h, err)
			}
			got, err := k.decode(e, frame[imsg.HeaderLen:])
			if e.Check(m) != nil && reflect.DeepEqual(m, e.New()) {
				if !errors.Is(err, ErrBadMessage) {
					t.Errorf("%s without anything in it breaks its rules: %v", e.Name, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
			if !reflect.DeepEqual(got, m) {
				t.Errorf("%s: sent %+v, got %+v", e.Name, m, got)
			}
			for i := range frame[imsg.HeaderLen:] {
				if _, err := k.decode(e, frame[imsg.HeaderLen:imsg.HeaderLen+i]); !errors.Is(err, ErrBadMessage) {
					t.Errorf("%s cut at %d: %v", e.Name, i, err)
				}
			}
			if _, err := k.decode(e, append(frame[imsg.HeaderLen:len(frame):len(frame)], 0xc0)); !errors.Is(err, ErrBadMessage) {
				t.Errorf("%s with a trailing octet: %v", e.Name, err)
			}
		}
	}
}

func new2() *codec { return codecs.New().(*codec) }

// encode writes a frame with a codec of its own.
func encode(m imsg.Message, id uint32) ([]byte, error) { return new2().encode(imsg.Row(m), m, id) }

// is tells whether r brought an M.
func is[M imsg.Message](r Request) bool { return isMessage[M](r.Message) }

func isMessage[M imsg.Message](m imsg.Message) bool {
	_, ok := m.(M)
	return ok
}

func TestStrict(t *testing.T) {
	leave := imsg.Row(&imsg.Leave{})
	for name, body := range map[string][]byte{
		"nil for a struct":       {0xc0},
		"missing field":          {0x90},
		"unknown field":          {0x92, 1, 1},
		"map":                    {0x81, 0xa6, 'N', 'u', 'm', 'b', 'e', 'r', 1},
		"number for a struct":    {1},
		"string for a number":    {0x91, 0xa1, '1'},
		"wider than needed":      {0x91, 0xcc, 1},
		"negative for unsigned":  {0x91, 0xff},
		"float for unsigned":     {0x91, 0xca, 0, 0, 0, 0},
		"extension":              {0x91, 0xd4, 1, 1},
		"reserved octet":         {0x91, 0xc1},
		"16 million elements":    {0xdd, 0x00, 0xff, 0xff, 0xff},
		"4 GiB of string":        {0x91, 0xdb, 0xff, 0xff, 0xff, 0xff},
		"nesting":                bytes.Repeat([]byte{0x91}, 1000),
		"too long for its type":  append([]byte{0x91, 0xda, 0x10, 0}, make([]byte, 4096)...),
		"empty":                  {},
		"boolean for an integer": {0x91, 0xc3},
	} {
		if m, err := new2().decode(leave, body); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	// 300 does not fit State, a uint8: cutting it to 44 must not pass.
	live := &imsg.Live{Sessions: []imsg.LiveSession{{State: 44}}}
	k := new2()
	frame, _ := k.encode(imsg.Row(live), live, 0)
	cut := bytes.Replace(frame[imsg.HeaderLen:], []byte{44}, []byte{0xcd, 0x01, 0x2c}, 1)
	if _, err := new2().decode(imsg.Row(live), cut); !errors.Is(err, ErrBadMessage) {
		t.Errorf("a number wider than its field: %v", err)
	}
}

func TestCall(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	serve(s, func(Request) {})
	serve(l, func(r Request) {
		switch m := r.Message.(type) {
		case *imsg.Enter:
			r.answer(&imsg.Admission{Number: 42, Load: 0.5, Sessions: int(m.Client.Port())})
		case *imsg.Offence:
			r.Fail(imsg.Resource)
		}
	})
	a, err := Ask(s, &imsg.Enter{Client: netip.MustParseAddrPort("192.0.2.1:99")}, imsgtest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if a.Number != 42 || a.Sessions != 99 || a.Load != 0.5 {
		t.Errorf("a %+v", a)
	}
	if _, err := Ask(s, &imsg.Offence{Transaction: 1, Found: imsg.FoundVirus}, imsgtest.Patience); err != imsg.Resource {
		t.Errorf("a failure came as %v", err)
	}
}

// TestDenied: who may only look hears so of each order, whatever the order says, and goes
// on to look; what is no order of anybody's ends the link.
func TestDenied(t *testing.T) {
	lockd, operator := ends(t, imsg.Lockd, imsg.Reader, imsg.Control, imsg.Lockd)
	serve(operator, func(Request) { t.Error("the reader was asked") })
	serve(lockd, func(r Request) {
		if imsg.Row(r.Message).Order() {
			t.Errorf("%T reaches its handler", r.Message)
		}
		ReplyTo(r, r.Message.(*imsg.Locks)).Answer(&imsg.LockList{})
	})
	orders := 0
	for i := range imsg.Table {
		e := &imsg.Table[i]
		if !e.Order() {
			continue
		}
		orders++
		files := slices.Repeat([]*os.File{imsgtest.TempFile(t)}, e.Files)
		for _, m := range []imsg.Message{e.New(), full(e)} {
			if e.Check(m) != nil { // nobody says it
				continue
			}
			if _, err := operator.call(nil, m, imsgtest.Patience, files); err != imsg.ReadOnly {
				t.Errorf("%s: %v", e.Name, err)
			}
		}
		if _, err := Ask(operator, &imsg.Locks{}, imsgtest.Patience); err != nil {
			t.Errorf("behind %s: %v", e.Name, err)
		}
	}
	if orders < 8 {
		t.Errorf("only %d orders", orders)
	}
	lockd, session := ends(t, imsg.Lockd, imsg.Reader, imsg.Session, imsg.Lockd)
	end := serve(lockd, func(Request) { t.Error("it was heard") })
	if err := session.Send(&imsg.Leave{}); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, end); !errors.Is(err, ErrBadMessage) {
		t.Errorf("what no operator says: %v", err)
	}
}

func TestCallGone(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	serve(s, func(Request) {})
	serve(l, func(r Request) { r.From().Close() })
	if _, err := Ask(s, &imsg.Enter{Client: anybody}, imsgtest.Patience); err != imsg.Gone {
		t.Fatalf("the other room ended: %v", err)
	}
	if _, err := Ask(s, &imsg.Enter{Client: anybody}, imsgtest.Patience); err != imsg.Gone {
		t.Fatalf("after the end: %v", err)
	}
	if err := s.Send(&imsg.Leave{}); err != imsg.Gone {
		t.Fatalf("telling after the end: %v", err)
	}
}

func TestFilesTravel(t *testing.T) {
	s, c := link(t, imsg.Session, imsg.Scand)
	serve(s, func(Request) {})
	serve(c, func(r Request) {
		b, _ := io.ReadAll(r.Files[0])
		r.Close()
		r.answer(&imsg.Verdict{Findings: []imsg.Finding{{Name: string(b)}}})
	})
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("what lies in the file")
	f.Seek(0, 0)
	a, err := Ask(s, &imsg.Scan{}, imsgtest.Patience, f)
	if err != nil || len(a.Findings) != 1 || a.Findings[0].Name != "what lies in the file" {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, err := Ask(s, &imsg.Scan{}, time.Second); err == nil {
		t.Error("Scan without its file was sent")
	}
}

// TestVerdictFits: what as many engines as there may be find, each at its worst.
func TestVerdictFits(t *testing.T) {
	worst := imsg.Finding{
		Engine: imsg.Engine(len(imsg.EngineKinds)), Roles: ^imsg.Roles(0), Outcome: imsg.TimedOut,
		Name: strings.Repeat("v", 255), Score: math.MaxFloat64, Problem: strings.Repeat("p", 500), Time: math.MaxInt64,
	}
	v := imsg.Verdict{Findings: slices.Repeat([]imsg.Finding{worst}, imsg.MaxEngines)}
	v.Findings = append(v.Findings, imsg.Finding{Roles: worst.Roles, Problem: "the engine is off"})
	if _, err := encode(&v, 1); err != nil {
		t.Error(err)
	}
}

// raw returns an end that can say anything, and the checked end.
func raw(t *testing.T, liar, honest imsg.Room) (*os.File, *Conn) {
	fa, fb, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(fb, honest, liar)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fa.Close(); c.Close() })
	if err := unix.SetNonblock(int(fa.Fd()), false); err != nil { // it is written to by hand
		t.Fatal(err)
	}
	return fa, c
}

func TestLiars(t *testing.T) {
	frame := func(m imsg.Message, id uint32) []byte {
		b, err := encode(m, id)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(b)
	}
	for name, say := range map[string]struct {
		data  []byte
		files int
	}{
		"short":                     {data: []byte{1, 2, 3}},
		"unknown type":              {data: changed(frame(&imsg.Leave{}, 0), 0, 0xff)},
		"type zero":                 {data: changed(frame(&imsg.Leave{}, 0), 0, 0)},
		"another table":             {data: changed(frame(&imsg.Leave{}, 0), 2, byte(tableMark())+1)},
		"a stronger room's words":   {data: frame(&imsg.Start{}, 0)},
		"another room's words":      {data: frame(&imsg.Verdict{}, 3)},
		"the parent's words":        {data: frame(&imsg.LockdConfig{}, 0)},
		"tell with an id":           {data: frame(&imsg.Leave{}, 5)},
		"ask without an id":         {data: frame(&imsg.Enter{Client: anybody}, 0)},
		"ask without a deadline":    {data: frame(&imsg.Enter{Client: anybody}, 1)},
		"tell with a deadline":      {data: stamped(frame(&imsg.Leave{}, 0), 1)},
		"a descriptor nobody asked": {data: frame(&imsg.Leave{}, 0), files: 1},
		"many descriptors":          {data: frame(&imsg.Leave{}, 0), files: 9},
		"more than fit":             {data: frame(&imsg.Leave{}, 0), files: 40},
		"longer than the link":      {data: make([]byte, 80<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			liar, honest := raw(t, imsg.Session, imsg.Lockd)
			end := serve(honest, func(r Request) { t.Errorf("%T was handled", r.Message) })
			before := descriptors(t)
			var oob []byte
			if say.files > 0 {
				fds := make([]int, say.files)
				oob = unix.UnixRights(fds...)
			}
			if err := unix.Sendmsg(int(liar.Fd()), say.data, oob, nil, 0); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, end); !errors.Is(err, ErrBadMessage) {
				t.Errorf("ended with %v", err)
			}
			if after := descriptors(t); after >= before+say.files && say.files > 0 {
				t.Errorf("descriptors leak: %d before, %d after", before, after)
			}
		})
	}
}

// changed is a frame with one octet changed.
func changed(frame []byte, at int, to byte) []byte {
	frame[at] = to
	return frame
}

// stamped is a frame with a deadline.
func stamped(frame []byte, until int64) []byte {
	setDeadline(frame, until)
	return frame
}

func descriptors(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(d)
}

func TestWrongAnswerType(t *testing.T) {
	liar, honest := raw(t, imsg.Lockd, imsg.Session)
	end := serve(honest, func(Request) {})
	lied := make(chan bool)
	go func() {
		defer close(lied)
		buf := make([]byte, 4096)
		n, _ := liar.Read(buf)
		h, _ := parseHeader(buf[:n])
		b, _ := encode(&imsg.Done{}, h.id)
		unix.Sendmsg(int(liar.Fd()), b, nil, nil, 0)
	}()
	if _, err := Ask(honest, &imsg.Enter{Client: anybody}, imsgtest.Patience); err != imsg.Gone {
		t.Errorf("a wrong answer gave %v", err)
	}
	if err := wait(t, end); !errors.Is(err, ErrBadMessage) {
		t.Errorf("link ended with %v", err)
	}
	wait(t, lied)
}

// A peer that does not read costs its sender a bounded queue and no waiting;
// when it reads again nothing is lost or out of order.
func TestSlowReader(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	sent := 0
	for {
		err := s.Send(&imsg.Counts{Add: []uint64{uint64(sent)}})
		if err == imsg.Busy {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if sent++; sent > 100_000 {
			t.Fatal("the queue is not bounded")
		}
	}
	if sent < maxQueue {
		t.Errorf("only %d frames were taken", sent)
	}
	got := make(chan uint64, sent+1)
	serve(l, func(r Request) { got <- r.Message.(*imsg.Counts).Add[0] })
	for i := range sent {
		if n := wait(t, got); n != uint64(i) {
			t.Fatalf("frame %d came as %d", n, i)
		}
	}
}

// TestUnwritable: what cannot be written though the peer lives ends the link with an error,
// so that another is asked for.
func TestUnwritable(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	defer l.Close()
	end := serve(s, func(Request) {})
	s.queue = []frame{{data: []byte{1}, fds: []int{math.MaxInt32}}} // no descriptor
	s.flush()
	if err := wait(t, end); !errors.Is(err, unix.EBADF) {
		t.Errorf("ended with %v", err)
	}
}

// One who asks and never listens is cut off, as one who says what it may not.
func TestDeafPeer(t *testing.T) {
	asker, honest := raw(t, imsg.Session, imsg.Lockd)
	end := serve(honest, func(r Request) { r.answer(&imsg.Admission{Number: 1}) })
	for id := range uint32(10 * maxQueue) {
		frame, err := encode(&imsg.Enter{Client: anybody}, id+1)
		if err != nil {
			t.Fatal(err)
		}
		stamped(frame, math.MaxInt64)
		if unix.Sendmsg(int(asker.Fd()), frame, nil, nil, unix.MSG_NOSIGNAL) != nil {
			break
		}
	}
	if err := wait(t, end); !errors.Is(err, ErrBadMessage) {
		t.Errorf("ended with %v", err)
	}
}

func TestLinkIsReplaced(t *testing.T) {
	var l Peer
	answer := func(n uint64) Handler {
		return func(r Request) { r.answer(&imsg.Admission{Number: n}) }
	}
	ask := func() (uint64, error) {
		a, err := Ask(&l, &imsg.Enter{Client: anybody}, imsgtest.Patience)
		if err != nil {
			return 0, err
		}
		return a.Number, nil
	}
	first, other := link(t, imsg.Session, imsg.Lockd)
	serve(first, func(Request) {})
	serve(other, answer(1))
	go l.Set(first)
	if n, err := ask(); n != 1 || err != nil {
		t.Fatalf("waiting for the first: %d, %v", n, err)
	}
	other.Close()
	wait(t, first.Done())
	second, other := link(t, imsg.Session, imsg.Lockd)
	serve(second, func(Request) {})
	serve(other, answer(2))
	go l.Set(second)
	if n, err := ask(); n != 2 || err != nil {
		t.Fatalf("after the replacement: %d, %v", n, err)
	}
	var none Peer
	if _, err := Ask(&none, &imsg.Enter{Client: anybody}, time.Millisecond); err != imsg.Gone {
		t.Errorf("no peer: %v", err)
	}
}

func TestManyCallers(t *testing.T) {
	s, l := link(t, imsg.Session, imsg.Lockd)
	serve(s, func(Request) {})
	serve(l, func(r Request) {
		go r.answer(&imsg.Admission{Number: uint64(r.Message.(*imsg.Enter).Client.Port())})
	})
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			port := uint16(i + 1)
			a, err := Ask(s, &imsg.Enter{Client: netip.AddrPortFrom(netip.IPv6Loopback(), port)}, imsgtest.Patience)
			if err != nil || a.Number != uint64(port) {
				t.Errorf("call %d: %+v, %v", i, a, err)
			}
		})
	}
	wg.Wait()
}

// TestLongZone: an address that does not fit its place is not said, rather than another.
func TestLongZone(t *testing.T) {
	for n, fits := range map[int]bool{255 - 18: true, 256 - 18: false, 256: false} {
		server := netip.AddrPortFrom(netip.MustParseAddr("fe80::1%"+strings.Repeat("x", n)), 53)
		m := &imsg.LookupdConfig{Nameservers: []netip.AddrPort{server}}
		frame, err := encode(m, 0)
		if (err == nil) != fits {
			t.Errorf("a zone of %d octets: %v", n, err)
		}
		if err != nil {
			continue
		}
		if got, err := new2().decode(imsg.Row(m), frame[imsg.HeaderLen:]); err != nil || got.(*imsg.LookupdConfig).Nameservers[0] != server {
			t.Errorf("a zone of %d octets: %+v, %v", n, got, err)
		}
	}
}

func FuzzValidate(f *testing.F) {
	f.Add([]byte{0x91, 1})
	f.Add([]byte{0xdd, 0x00, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := testing.AllocsPerRun(1, func() { _ = validate(b) })
		if validate(b) == nil && n > 0 {
			t.Errorf("validating allocates %v times", n)
		}
	})
}

// FuzzDecode feeds every type's decoder: no panic, and what is taken is exactly
// what we would have written.
func FuzzDecode(f *testing.F) {
	for i := range imsg.Table {
		for _, m := range []imsg.Message{imsg.Table[i].New(), full(&imsg.Table[i])} {
			frame, err := encode(m, 0)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint16(imsg.Table[i].Type), bytes.Clone(frame[imsg.HeaderLen:]))
		}
	}
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		e := imsg.RowOf(imsg.Type(typ))
		if e == nil {
			return
		}
		k := new2()
		m, err := k.decode(e, body)
		if err != nil {
			if !errors.Is(err, ErrBadMessage) {
				t.Errorf("%v is no ErrBadMessage", err)
			}
			return
		}
		again, err := k.encode(imsg.Row(m), m, 0)
		if err != nil || !bytes.Equal(again[imsg.HeaderLen:], body) {
			t.Errorf("%s: took %x, writes %x, %v", e.Name, body, again, err)
		}
	})
}

// TestLimitedLink: one that does not stop talking is cut off, whatever it says, also what
// never reaches a handler.
func TestLimitedLink(t *testing.T) {
	for name, flood := range map[string]func(t *testing.T, c *Conn) error{
		"notices": func(_ *testing.T, c *Conn) error { return c.Send(&imsg.Counts{}) },
		"answers nobody waits for": func(_ *testing.T, c *Conn) error {
			Request{conn: c, id: 7}.answer(&imsg.Live{})
			return nil
		},
		"questions that are late": func(_ *testing.T, c *Conn) error {
			m := &imsg.Enter{Client: anybody}
			return c.send(imsg.Row(m), m, header{id: 7, until: 1}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := link(t, imsg.Session, imsg.Lockd)
			l.Limit(imsg.Pace{Burst: 100, Every: time.Hour})
			end := serve(l, func(Request) {})
			serve(s, func(Request) {})
			for range 100 {
				if err := flood(t, s); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-end:
				t.Fatalf("cut off within its limit: %v", err)
			default:
			}
			flood(t, s)
			if err := wait(t, end); !errors.Is(err, ErrBadMessage) || !strings.Contains(err.Error(), "it does not stop talking") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// TestPairDoesNotBlock: a room may not change the mode of what it is handed, so an end
// comes as NewConn needs it.
func TestPairDoesNotBlock(t *testing.T) {
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{a, b} {
		defer f.Close()
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %o, %v", flags, err)
		}
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("passes an exec: flags %o, %v", flags, err)
		}
	}
}

// TestRules: what breaks a rule is never said by an honest room, and is a bad message
// of one that says it. A question whose answer breaks one fails at once.
func TestRules(t *testing.T) {
	zone := netip.MustParseAddrPort("[fe80::1%a\r\nX-Spam: no]:25")
	for _, m := range []imsg.Message{
		&imsg.TargetResult{Target: zone},
		&imsg.Enter{Client: zone},
		&imsg.Verdict{Findings: []imsg.Finding{{Score: math.NaN()}}},
		&imsg.Counts{Add: []uint64{math.MaxUint64}},
		&imsg.SPFResult{Verdict: 200},
	} {
		e := imsg.Row(m)
		frame, err := encode(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := new2().decode(e, frame[imsg.HeaderLen:]); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", e.Name, err)
		}
	}

	s, l := link(t, imsg.Session, imsg.Lookupd)
	serve(s, func(r Request) { r.Close() })
	serve(l, func(r Request) { r.answer(&imsg.TargetResult{Target: zone}) })
	if _, err := Ask(s, &imsg.TargetQuery{}, imsgtest.Patience); err != imsg.Internal {
		t.Errorf("an answer that cannot be said: %v", err)
	}
	if err := s.Send(&imsg.GiveUp{}); err != nil {
		t.Errorf("the link has not outlived it: %v", err)
	}
	var rule imsg.RuleError
	if _, err := Ask(s, &imsg.SPF{Helo: "\n"}, imsgtest.Patience); !errors.As(err, &rule) {
		t.Errorf("a question that cannot be asked: %v", err)
	}
}

// TestTakeOver: one that takes over from a peer which still answers is greeted when
// that has given its last answer, and what followed from it is done.
func TestTakeOver(t *testing.T) {
	var l Peer
	first, other := link(t, imsg.Session, imsg.Lockd)
	serve(first, func(Request) {})
	asked := make(chan Request, 1)
	serve(other, func(r Request) { asked <- r })
	l.Set(first)

	followed, answers := make(chan bool), make(chan uint64, 2)
	var done atomic.Bool
	go func() {
		h := l.Hold(imsgtest.Patience)
		defer h.Release()
		a, err := Ask(h, &imsg.Enter{Client: anybody}, imsgtest.Patience)
		if err != nil {
			t.Error(err)
			a = new(imsg.Admission)
		}
		answers <- a.Number
		<-followed
		done.Store(true)
	}()
	question := wait(t, asked)

	second, heir := link(t, imsg.Session, imsg.Lockd)
	serve(second, func(Request) {})
	said := make(chan string, 2)
	serve(heir, func(r Request) {
		said <- "question"
		r.answer(&imsg.Admission{Number: 2})
	})
	lost, _ := link(t, imsg.Session, imsg.Lockd)
	l.Replace(lost, time.Hour, func() { t.Error("the later one counts") })
	l.Replace(second, time.Hour, func() {
		if !done.Load() {
			t.Error("greeted too early")
		}
		said <- "greeting"
	})
	wait(t, lost.Done())
	go func() {
		a, err := Ask(&l, &imsg.Enter{Client: anybody}, imsgtest.Patience)
		if err != nil {
			t.Error(err)
			a = new(imsg.Admission)
		}
		answers <- a.Number
	}()
	question.answer(&imsg.Admission{Number: 1})
	if n := wait(t, answers); n != 1 {
		t.Errorf("the first answers %d", n)
	}
	if err := l.Send(&imsg.Leave{Number: 1}); err != nil {
		t.Errorf("what is said meanwhile: %v", err)
	}
	close(followed)
	if n := wait(t, answers); n != 2 {
		t.Errorf("the second answers %d", n)
	}
	if a, b := wait(t, said), wait(t, said); a != "greeting" || b != "question" {
		t.Errorf("the second heard %s and %s", a, b)
	}
	wait(t, first.Done())

	// One that does not come to an end is waited for no longer than that.
	h := l.Hold(0)
	third, _ := link(t, imsg.Session, imsg.Lockd)
	greeted := make(chan string, 1)
	l.Replace(third, time.Millisecond, func() { greeted <- "greeted" })
	wait(t, greeted)
	h.Release()
	if g := l.Get(); g != third {
		t.Errorf("the third is not in place")
	}
}
