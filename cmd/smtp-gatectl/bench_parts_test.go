package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// pieces is a connection on which a text comes in pieces of one size.
type pieces struct {
	net.Conn
	text  string
	piece int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.piece)], p.text)
	p.text = p.text[n:]
	return n, nil
}

func (p *pieces) SetDeadline(time.Time) error { return nil }

// TestWireText: a text ends where it ends, however it comes, and what is behind it is not lost.
func TestWireText(t *testing.T) {
	long := strings.Repeat("x", 3*textSize)
	for _, text := range []string{"", "\r\n", ".\r\n", "a\r\n", "..\r\n", "a\r\n..\r\n", "\r\n.\n\r\n", ".\n\r\n", "a\r\n.\rb\r\n", "\n.\r\n", long + "\r\n", "\r\n\r\n\r\n"} {
		if text == ".\r\n" {
			continue // is an end by itself
		}
		for _, piece := range []int{1, 2, 3, 4, 5, 6, 7, 1000, 1 << 20} {
			w := newWire(&pieces{text: "DATA\r\n" + text + ".\r\nQUIT\r\n", piece: piece})
			w.quiet = time.Minute
			if line, err := w.line(); string(line) != "DATA" || err != nil {
				t.Fatalf("the line is %q, error %v", line, err)
			}
			n, err := w.skipText()
			if n != int64(len(text)) || err != nil {
				t.Errorf("%.20q in pieces of %d: %d octets, error %v", text, piece, n, err)
			}
			if line, err := w.line(); string(line) != "QUIT" || err != nil {
				t.Errorf("%.20q in pieces of %d: behind it is %q, error %v", text, piece, line, err)
			}
			w.r, w.w = 0, 0
			w.text = nil
		}
	}
	for _, text := range []string{"", ".", "\r\n", "a\r\n.", "a\r\n.\r", long} {
		if _, err := newWire(&pieces{text: text, piece: 100}).skipText(); !errors.Is(err, io.EOF) {
			t.Errorf("%.20q, that has no end: error %v", text, err)
		}
	}
	if _, err := newWire(&pieces{text: long, piece: 100}).line(); !errors.Is(err, errLongLine) {
		t.Errorf("a line without an end: error %v", err)
	}
}

// TestHistogram: a quantile is right to a 32nd, the longest is exact, and nothing is beyond
// its bounds.
func TestHistogram(t *testing.T) {
	for _, unit := range []time.Duration{1000, time.Microsecond * 7, time.Millisecond, time.Second * 3} {
		var h histogram
		if h.quantile(0.5) != 0 {
			t.Error("nothing has a median")
		}
		for n := range 1000 {
			h.add(time.Duration(n+1) * unit)
		}
		for _, share := range []float64{0.001, 0.25, 0.5, 0.99, 1} {
			want := time.Duration(share*1000) * unit
			if got := h.quantile(share); got < want || float64(got) > float64(want)*(1+1.0/rangeParts)+128 {
				t.Errorf("%v of %v is %v, want %v", share, unit, got, want)
			}
		}
		if l := h.latency(); l.Count != 1000 || l.Max != (1000*unit).Seconds() {
			t.Errorf("it is %+v", l)
		}
	}
	var h histogram
	for _, d := range []time.Duration{-1, 0, 1, 1<<63 - 1} {
		h.add(d)
	}
	if h.latency().Count != 4 || h.quantile(1) != 1<<63-1 && h.quantile(1) < time.Hour {
		t.Errorf("the bounds are %+v", h.latency())
	}
}

func TestBrief(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0ms", 0.0000106: "0.0106ms", 0.01234: "12.3ms", 0.9999: "1s", 0.9994: "999ms", 999.6: "1000s", 1: "1s", 61.26: "61.3s", 86400: "86400s"} {
		if got := brief(seconds); got != want {
			t.Errorf("%v is %q, want %q", seconds, got, want)
		}
	}
}

// TestTally keeps what a server can have it remember bounded, and forgets no count.
func TestTally(t *testing.T) {
	var tally tally
	const kinds = 3 * mostKinds
	for range 2 {
		for n := range kinds {
			tally.mishap(mishap{"RCPT", fmt.Sprint(n)}, "text")
		}
	}
	var sum int64
	all := tally.errors()
	for _, e := range all {
		sum += e.Count
	}
	if len(all) != mostKinds+1 || sum != 2*kinds {
		t.Errorf("%d kinds, %d in all", len(all), sum)
	}
}

// TestSink talks to the sink as clients do, and as they should not.
func TestSink(t *testing.T) {
	for _, test := range []struct {
		say    string
		hear   string // the codes of all lines, until it closes
		mails  int64
		octets int64
		broken int64
	}{
		{"QUIT\r\n", "220 221", 0, 0, 0},
		{"helo x\nquit\n", "220 250 221", 0, 0, 0},
		{"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\na\r\n..\r\n.\r\nQUIT\r\n", "220 250 250 250 250 250 250 250 250 354 250 221", 1, 7, 0},
		{"DATA\r\n.\r\nDATA\r\nb\r\n.\r\nQUIT\r\n", "220 354 250 354 250 221", 2, 3, 0},
		{"BDAT 3\r\nabcBDAT 2 last\r\ndeBDAT 0 LAST\r\nQUIT\r\n", "220 250 250 250 221", 2, 5, 0},
		{"BDAT 3\r\nabcRSET\r\nQUIT\r\n", "220 250 250 221", 0, 0, 0},
		{"BDAT 3\r\nabcQUIT\r\n", "220 250 221", 0, 0, 1},
		{"BDAT 3\r\nab", "220", 0, 0, 1},
		{"BDAT x\r\nQUIT\r\n", "220 501", 0, 0, 1},
		{"BDAT -1\r\nQUIT\r\n", "220 501", 0, 0, 1},
		{"DATA\r\nhalf", "220 354", 0, 0, 1},
		{"XCLIENT NAME=x\r\nNOOP\r\nSTARTTLSX\r\nXYZZY\r\n\r\nQUIT\r\n", "220 220 250 500 500 500 221", 0, 0, 0},
		{"STARTTLS\r\nQUIT\r\n", "220 220", 0, 0, 0},
		{strings.Repeat("x", 2*lineSize), "220", 0, 0, 0},
	} {
		s, err := newSink("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.serve()
		c, err := net.Dial("tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(imsgtest.Deadline())
		io.WriteString(c, test.say)
		c.(*net.TCPConn).CloseWrite()
		heard, err := io.ReadAll(c)
		var codes []string
		for line := range strings.Lines(string(heard)) {
			codes = append(codes, line[:min(3, len(line))])
		}
		// What it did not read resets the connection.
		if got := strings.Join(codes, " "); got != test.hear && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			t.Errorf("%.30q: it says %q, error %v, want %s", test.say, heard, err, test.hear)
		}
		r := *s.result()
		if want := (sinkResult{Sessions: 1, Mails: test.mails, Octets: test.octets, Broken: test.broken}); r != want {
			t.Errorf("%.30q: it has counted %+v, want %+v", test.say, r, want)
		}
		c.Close()
		s.close()
	}
}

// TestSinkTLS: extensions are offered within it, but not another STARTTLS.
func TestSinkTLS(t *testing.T) {
	s, err := newSink("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	go s.serve()
	plain, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.SetDeadline(imsgtest.Deadline())
	readLine(plain)
	io.WriteString(plain, "STARTTLS\r\n")
	readLine(plain)
	c := tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
	io.WriteString(c, "EHLO x\r\nSTARTTLS\r\nDATA\r\na\r\n.\r\nQUIT\r\n")
	heard, err := io.ReadAll(c)
	if err != nil || !bytes.Contains(heard, []byte("250-CHUNKING\r\n")) || bytes.Contains(heard, []byte("STARTTLS")) ||
		!bytes.HasSuffix(heard, []byte("\r\n503 TLS is there\r\n354 go on\r\n250 taken\r\n221 bye\r\n")) {
		t.Errorf("it says %q, error %v", heard, err)
	}
	if r := s.result(); r.TLS != 1 || r.Mails != 1 {
		t.Errorf("it has counted %+v", r)
	}
}

// FuzzBenchServer: whatever a server says, the command ends and what it shows is lines that
// can be printed.
func FuzzBenchServer(f *testing.F) {
	for _, says := range []string{"", "220 x\r\n", "220 x\r\n250-STARTTLS\r\n250 x\r\n220 x\r\n\x16\x03\x01", "220-\x1b\r\n220 x\n554 \xff\xfe\n", "220 x\r\n250 x\r\n250 x\r\n250 x\r\n354 x\r\n250 x\r\n221 x\r\n"} {
		f.Add([]byte(says))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		at := fakeServer(t, func(c net.Conn) {
			c.Write(says)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		})
		_, out, errs := gatectl("bench", "--sessions", "1", "--tls", "may", "--timeout", "5s", at)
		if out == "" {
			t.Error("nothing")
		}
		for line := range strings.SplitSeq(out+errs, "\n") {
			if line != clean(line) {
				t.Errorf("%q", line)
			}
		}
	})
}
