package link

import (
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// The far end of the benchmarks is a process of its own, as in real life.
func TestMain(m *testing.M) {
	switch os.Getenv("IMSG_TEST_ROOM") {
	case "lockd":
		far(imsg.Lockd, func(r Request) { r.answer(&imsg.Admission{Number: 1, Sessions: 2, Same: 1, Load: 0.25}) })
	case "scand":
		far(imsg.Scand, func(r Request) { r.Close(); r.answer(&imsg.Verdict{Findings: []imsg.Finding{{Outcome: imsg.Clean}}}) })
	}
	os.Exit(m.Run())
}

func far(self imsg.Room, h Handler) {
	c, err := NewConn(os.NewFile(3, "link"), self, imsg.Session)
	if err == nil {
		err = c.Serve(h)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(0)
}

func process(b *testing.B, room imsg.Room) *Conn {
	near, far, err := Pair()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "IMSG_TEST_ROOM="+room.String())
	cmd.ExtraFiles = []*os.File{far}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	far.Close()
	c, err := NewConn(near, imsg.Session, room)
	if err != nil {
		b.Fatal(err)
	}
	serve(c, func(Request) {})
	b.Cleanup(func() { c.Close(); cmd.Wait() })
	return c
}

var enter = &imsg.Enter{
	Client: netip.MustParseAddrPort("203.0.113.7:51234"),
	Local:  netip.MustParseAddrPort("192.0.2.1:9199"),
	Target: netip.MustParseAddrPort("[2001:db8::25]:25"),
}

func BenchmarkCall(b *testing.B) {
	c := process(b, imsg.Lockd)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Ask(c, enter, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall64InFlight(b *testing.B) {
	c := process(b, imsg.Lockd)
	b.ReportAllocs()
	b.SetParallelism(32) // times GOMAXPROCS, 2 where this was tuned
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := Ask(c, enter, 10*time.Second); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkCallWithFile(b *testing.B) {
	c := process(b, imsg.Scand)
	f, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Ask(c, &imsg.Scan{Number: 1, Size: 4096, Roles: imsg.RoleVirus}, time.Second, f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	frame, _ := encode(enter, 1)
	body := frame[imsg.HeaderLen:]
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := validate(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	k := new2()
	frame, _ := k.encode(imsg.Row(enter), enter, 1)
	body := append([]byte(nil), frame[imsg.HeaderLen:]...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.decode(imsg.Row(enter), body); err != nil {
			b.Fatal(err)
		}
	}
}
