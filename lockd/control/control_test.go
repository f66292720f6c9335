package control

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/lockd/counters"
	"github.com/smtp-gated/smtp-gated/lockd/events"
	"github.com/smtp-gated/smtp-gated/lockd/exemptions"
	"github.com/smtp-gated/smtp-gated/lockd/history"
	"github.com/smtp-gated/smtp-gated/lockd/locks"
	"github.com/smtp-gated/smtp-gated/lockd/rates"
)

const patience = imsgtest.Patience

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// empty is a house in which nobody is live, and no file is slow.
type empty struct {
	config imsg.LockdConfig
	mu     sync.Mutex // one job aside at a time
}

func (e *empty) Overview() Overview              { return Overview{Config: e.config} }
func (e *empty) LiveAfter(uint64, int) []Session { return nil }
func (e *empty) Workers() []*link.Conn           { return nil }
func (e *empty) Newest() *link.Conn              { return nil }
func (e *empty) Trace(_ *imsg.Trace, _ int, f *os.File) *imsg.Done {
	f.Close()
	return &imsg.Done{}
}

func (e *empty) TellLocked(_ netip.Addr, _ string) {}

func (e *empty) EndSession(uint64, func(int64) bool) imsg.Errno { return imsg.NotFound }

func (e *empty) Aside(_ string, job func()) bool {
	go func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		job()
	}()
	return true
}

// desk is a Service in an empty house, and the test as its parent and operators.
type desk struct {
	*Service
	t       testing.TB
	log     *imsgtest.Journal
	dir     string
	lists   atomic.Int32      // how often the lock directory was opened
	ahead   atomic.Int64      // nanoseconds that its clock is
	asked   chan imsg.Message // Reload, Stop
	answer  imsg.Done         // to those
	deaf    atomic.Bool       // does not answer them
	sockets map[imsg.Room]string
	guests  atomic.Int32 // who have come by a name of their own
}

// listing counts how often the lock directory is opened.
type listing struct {
	locks.Files
	times *atomic.Int32
}

func (l listing) Open(name string) (*os.File, error) {
	l.times.Add(1)
	return l.Files.Open(name)
}

// open has set change what is to be unusual before anybody is served.
func open(t testing.TB, config imsg.LockdConfig, set ...func(*desk)) *desk {
	t.Helper()
	d := &desk{t: t, log: new(imsgtest.Journal), dir: t.TempDir(), asked: make(chan imsg.Message, 64)}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	near, far, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := link.NewConn(far, imsg.Lockd, imsg.Parent)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(d.log, nil))
	now := func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }
	d.Service = &Service{
		House: &empty{config: config}, Parent: parent, Log: log, Now: now,
		Locks:    &locks.Directory{Files: listing{root, &d.lists}, Now: now, Log: log},
		Refusals: new(locks.Refusals),
		Rates:    rates.New(rates.NewFileStore(log), now, log),
		Counters: counters.New(log),
		Events:   new(events.Ring),
		Happened: func(imsg.Event) {},
		History:  history.New(now, log, func(string) {}),
		Exempt:   exemptions.New(now, log, func(imsg.Exemption) {}),
	}
	d.Rates.Configure(&config)
	for _, change := range set {
		change(d)
	}
	d.serve(parent, func(link.Request) {})
	other, err := link.NewConn(near, imsg.Parent, imsg.Lockd)
	if err != nil {
		t.Fatal(err)
	}
	d.serve(other, func(r link.Request) {
		d.asked <- r.Message
		if !d.deaf.Load() {
			family.Answer(r, &d.answer)
		}
	})
	d.sockets, d.who = make(map[imsg.Room]string), guest
	for role := range seating {
		d.sockets[role] = filepath.Join(t.TempDir(), role.String())
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: d.sockets[role]})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Open(role, f); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(d.Close)
	return d
}

// guest is peerUID where a test says who comes.
func guest(f *os.File) (uid int, err error) {
	err = askSocket(f, func(fd int) error {
		at, err := unix.Getpeername(fd)
		if err != nil {
			return err
		}
		if u, ok := at.(*unix.SockaddrUnix); ok && strings.HasPrefix(filepath.Base(u.Name), "uid-") {
			_, err = fmt.Sscanf(filepath.Base(u.Name), "uid-%d-", &uid)
		} else {
			uid, err = peerUID(f)
		}
		return err
	})
	return uid, err
}

// serve serves an end of a link until the test is over.
func (d *desk) serve(c *link.Conn, handle link.Handler) {
	go c.Serve(handle)
	d.t.Cleanup(func() { c.Close() })
}

// connect is a new operator.
func (d *desk) connect() *link.Conn {
	d.t.Helper()
	return d.operator(d.dial(imsg.Control, ""))
}

// connectAs is somebody at a socket, who seems to be another user.
func (d *desk) connectAs(role imsg.Room, uid int) *link.Conn {
	d.t.Helper()
	name := fmt.Sprintf("uid-%d-%d", uid, d.guests.Add(1))
	return d.operator(d.dial(role, filepath.Join(filepath.Dir(d.sockets[role]), name)))
}

// dial connects to a socket, from a name if one is given, and waits for a place in its
// queue.
func (d *desk) dial(role imsg.Room, from string) *os.File {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil && from != "" {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: from})
	}
	if err == nil {
		err = unix.EINTR
	}
	for err == unix.EINTR {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: d.sockets[role]})
	}
	if err != nil {
		d.t.Error(err)
	}
	return os.NewFile(uintptr(fd), "operator")
}

func (d *desk) operator(f *os.File) *link.Conn {
	d.t.Helper()
	c, err := link.NewConn(f, imsg.Control, imsg.Lockd)
	if err != nil {
		d.t.Fatal(err)
	}
	d.serve(c, func(link.Request) {})
	return c
}

func (d *desk) write(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), fs.FileMode(0o600)); err != nil {
		d.t.Fatal(err)
	}
}

func ask[A any](t testing.TB, c *link.Conn, q imsg.Question[A]) *A {
	t.Helper()
	answer, err := link.Ask(c, q, patience)
	if err != nil {
		t.Fatalf("%T: %v", q, err)
	}
	return answer
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	return imsgtest.Receive(t, "a message", from)
}

// usual is a configuration in which everything is on.
func usual() imsg.LockdConfig {
	return imsg.LockdConfig{
		Mode: imsg.ModeFixed, MaxConnections: 10000, LockDuration: 3600, LockPath: "/locks", LockPerm: 0o660, ClientPrefixIPv6: 64,
		RateExpiration: time.Minute, RateDstExpiration: time.Hour, RateGeneration: 1, RateQuotas: make([]uint64, imsg.RateCounters),
	}
}

// order is what an operator has done.
type order = imsg.Question[imsg.Done]

// TestOrdersAreBounded: operators cannot make lockd ask the parent so often that it is
// taken for one that has lost its mind.
func TestOrdersAreBounded(t *testing.T) {
	now := time.Now()
	h := open(t, usual(), func(d *desk) { d.Now = func() time.Time { return now.Add(time.Duration(d.ahead.Load())) } })
	c := h.connect()
	for range imsg.Orders.Burst {
		ask(t, c, &imsg.ReloadNow{})
		receive(t, h.asked)
	}
	for _, q := range []order{&imsg.ReloadNow{}, &imsg.StopNow{}} {
		if _, err := link.Ask(c, q, patience); err != imsg.Busy {
			t.Errorf("%T, one too many: %v", q, err)
		}
	}
	if len(h.asked) > 0 {
		t.Error("the parent was asked")
	}
	h.ahead.Add(int64(imsg.Orders.Every))
	ask(t, c, &imsg.ReloadNow{})
}

func TestReloadAndStop(t *testing.T) {
	h := open(t, usual(), func(d *desk) { d.answer = imsg.Done{Errno: imsg.Invalid, Detail: "gate.conf:3: what?"} })
	c := h.connect()
	if d := ask(t, c, &imsg.ReloadNow{}); *d != h.answer {
		t.Errorf("%+v", d)
	}
	if _, ok := receive(t, h.asked).(*imsg.Reload); !ok {
		t.Error("no Reload")
	}
	ask(t, c, &imsg.StopNow{Now: true})
	if s, ok := receive(t, h.asked).(*imsg.Stop); !ok || !s.Now {
		t.Errorf("%+v", s)
	}
}
