package session

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/session/relay"
)

// benchPair is a session through a worker with both ends in the benchmark's
// hands. Both are plain connections: what allocates is the worker.
func benchPair(b *testing.B, change func(*imsg.SessionConfig)) (client, server net.Conn) {
	b.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	h := newHouse(b, l.Addr().String(), func(c *imsg.SessionConfig) {
		c.NatHeaderType, c.ScanChunks = imsg.NatNone, true
		if change != nil {
			change(c)
		}
	})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	h.Tell(&imsg.Sink{Kind: imsg.SinkStream, Level: int(slog.LevelWarn)}, null)
	if client, err = net.Dial("tcp4", h.addr); err != nil {
		b.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); server.Close() })
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(imsgtest.Deadline())
	}
	exchange(b, server, client, []byte("220 mx\r\n"))
	exchange(b, client, server, []byte("EHLO c\r\n"))
	exchange(b, server, client, []byte("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"))
	return client, server
}

func exchange(b *testing.B, from, to net.Conn, text []byte) {
	if _, err := from.Write(text); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(to, scratch[:len(text)]); err != nil {
		b.Fatal(err)
	}
	if !bytes.Equal(scratch[:len(text)], text) {
		b.Fatalf("%q became %q", text, scratch[:len(text)])
	}
}

var scratch [4096]byte // one benchmark runs at a time

// BenchmarkPair is one command and its reply, there and back again.
func BenchmarkPair(b *testing.B) {
	for _, command := range []string{"NOOP\r\n", "RCPT TO:<somebody@mx.example>\r\n", "MAIL FROM:<somebody@client.example> SIZE=1000\r\n"} {
		b.Run(command[:4], func(b *testing.B) {
			client, server := benchPair(b, nil)
			there, back := []byte(command), []byte("250 2.0.0 Ok\r\n")
			b.ReportAllocs()
			for b.Loop() {
				exchange(b, client, server, there)
				exchange(b, server, client, back)
			}
		})
	}
}

// BenchmarkPipelined is a command and its reply in groups of 100.
func BenchmarkPipelined(b *testing.B) {
	const group = 100
	client, server := benchPair(b, func(c *imsg.SessionConfig) { c.PipelineSize = 2 * group })
	there, back := bytes.Repeat([]byte("NOOP\r\n"), group), bytes.Repeat([]byte("250 2.0.0 Ok\r\n"), group)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%group == 0 {
			exchange(b, client, server, there)
			exchange(b, server, client, back)
		}
	}
}

// BenchmarkMessage is a message on its way to server and spool, by DATA and in
// chunks.
func BenchmarkMessage(b *testing.B) {
	text := []byte(strings.Repeat("An ordinary line of an ordinary message, 62 octets in length.\r\n", 512))
	for _, tc := range []struct {
		name   string
		open   func(b *testing.B, client, server net.Conn)
		engine bool
	}{
		{"DATA", benchData, true},
		{"DATA unscanned", benchData, false},
		{"BDAT", benchChunk, true},
		{"BDAT unscanned", benchChunk, false},
	} {
		b.Run(tc.name, func(b *testing.B) {
			client, server := benchPair(b, func(c *imsg.SessionConfig) {
				c.Antivirus, c.Antispam = tc.engine, false
				c.ScanMaxSize = 1 << 30
			})
			tc.open(b, client, server)
			got := make([]byte, len(text))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Write(text); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(server, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBig is 16 MiB of a message that come as fast as they are taken: what it costs, of
// which both ends have the larger part.
func BenchmarkBig(b *testing.B) {
	text := []byte(strings.Repeat("An ordinary line of an ordinary message, 62 octets in length.\r\n", 16<<20/63))
	for _, scanned := range []bool{true, false} {
		b.Run(map[bool]string{true: "scanned", false: "unscanned"}[scanned], func(b *testing.B) {
			client, server := benchPair(b, func(c *imsg.SessionConfig) {
				c.Antivirus, c.Antispam = scanned, false
				c.ScanMaxSize = 1 << 40
			})
			benchData(b, client, server)
			got := make([]byte, 1<<20)
			b.SetBytes(int64(len(text)))
			before := cpu(b)
			for b.Loop() {
				sent := make(chan error, 1)
				go func() {
					_, err := client.Write(text)
					sent <- err
				}()
				for n := 0; n < len(text); {
					k, err := server.Read(got)
					if n += k; err != nil {
						b.Fatal(err)
					}
				}
				if err := <-sent; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/16, "cpu-ns/MiB")
		})
	}
}

// cpu is what this process has had of it so far, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return unix.TimevalToNsec(u.Utime) + unix.TimevalToNsec(u.Stime)
}

func benchData(b *testing.B, client, server net.Conn) {
	exchange(b, client, server, []byte("DATA\r\n"))
	exchange(b, server, client, []byte("354 go\r\n"))
}

func benchChunk(b *testing.B, client, server net.Conn) {
	exchange(b, client, server, []byte("MAIL FROM:<a>\r\nRCPT TO:<b>\r\n"))
	exchange(b, server, client, []byte("250 ok\r\n250 ok\r\n"))
	// The server is told of a message's first chunk behind its first octets.
	exchange(b, client, server, []byte("BDAT 1000000000000\r\nSubject: chunks\r\n"))
}

// BenchmarkLine is a line of the log about a session, up to the writer's queue.
func BenchmarkLine(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	l := logs.New(imsg.Session)
	l.SetSink(&imsg.Sink{Kind: imsg.SinkStream, Level: int(slog.LevelInfo)}, null)
	s := &session{w: &worker{log: l.Logger()}, facts: relay.Facts{Number: 12345, Client: netip.MustParseAddrPort("192.0.2.1:4321")}}
	for _, line := range []struct {
		name string
		log  func()
	}{
		{"DATA", func() { s.info("SCAN:CLEAN", "size", 4096, "src", s.facts.Client.Addr(), "ident", s.facts.Ident) }},
		{"CLOSE", func() { s.logClose(relay.Status{ClosedBy: "client", Transactions: 1, Recipients: 1}) }},
		{"below the level", func() { s.Log(slog.LevelDebug, "DATA:GOING") }},
	} {
		b.Run(line.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				line.log()
			}
		})
	}
}
