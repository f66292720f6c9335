package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// A message that begins with text is no part of our headers, in whatever pieces it
// comes, and one that begins with a header field is not parted from them.
func TestHeaderAndText(t *testing.T) {
	const nat = "X: 127.0.0.1\r\n"
	for _, tc := range []struct{ text, apart string }{
		{"Subject: one\r\n\r\ntext\r\n", ""},
		{"Subject  : one\r\n", ""},
		{"\r\ntext\r\n", ""},
		{"", ""},
		{"only text\r\nand more\r\n", "\r\n"},
		{" folded: into what\r\n", "\r\n"},
		{": x\r\n", "\r\n"},
		{strings.Repeat("x", 2000) + ": x\r\n", "\r\n"},
	} {
		for _, kind := range []imsg.NatHeader{imsg.NatIPOnly, imsg.NatNone} {
			for _, spoolHeader := range []string{"X-Spool", ""} {
				for _, step := range []int{1 << 20, 1} {
					t.Run(fmt.Sprintf("%.20q %d %q %d", tc.text, kind, spoolHeader, step), func(t *testing.T) {
						r := newRig(t, func(c *imsg.SessionConfig) {
							c.NatHeader, c.NatHeaderType, c.SpoolHeader = "X", kind, spoolHeader
						})
						r.data()
						for rest := tc.text + ".\r\n"; rest != ""; {
							n := min(step, len(rest))
							r.client.say(rest[:n])
							rest = rest[n:]
						}
						wire, spool := tc.text+".\r\n", tc.text
						if kind != imsg.NatNone {
							wire = nat + tc.apart + wire
						}
						if spoolHeader != "" {
							spool = tc.apart + spool
						}
						r.server.hears(wire)
						r.toClient("250 queued\r\n")
						r.set(func() {
							got := r.scanned[0]
							if spoolHeader != "" {
								_, got, _ = strings.Cut(got, "\r\n")
							}
							if got != spool {
								t.Errorf("scanned %q, want %q", got, spool)
							}
						})
					})
				}
			}
		}
	}
}

// In chunks the first one that is not empty decides alone.
func TestHeaderAndChunks(t *testing.T) {
	for _, tc := range []struct {
		chunks []string
		apart  string
	}{
		{[]string{"Subject: one\r\n", "x"}, ""},
		{[]string{"", "", "Subject: one\r\n", "", "x"}, ""},
		{[]string{"\r\nx", "y"}, ""},
		{[]string{"", ""}, ""},
		{[]string{"Sub", "ject: one\r\n"}, "\r\n"},
		{[]string{"", "\r", "\nx"}, "\r\n"},
		{[]string{"text", ""}, "\r\n"},
		{[]string{strings.Repeat("x", 2000), ": y\r\n"}, "\r\n"},
	} {
		for _, step := range []int{1 << 20, 1} {
			r := newRig(t, func(c *imsg.SessionConfig) {
				c.ScanChunks, c.NatHeader, c.NatHeaderType = true, "X", imsg.NatIPOnly
			})
			r.envelope()
			header := "X: 127.0.0.1\r\n" + tc.apart
			var says, hears, wants strings.Builder
			headed := false
			head := func() {
				if !headed {
					headed = true
					fmt.Fprintf(&hears, "BDAT %d\r\n%s|250 header\r\n|", len(header), header)
				}
			}
			for i, chunk := range tc.chunks {
				last := ""
				if i == len(tc.chunks)-1 {
					last = " LAST"
				}
				fmt.Fprintf(&says, "BDAT %d%s\r\n%s", len(chunk), last, chunk)
				if chunk != "" {
					head()
					fmt.Fprintf(&hears, "BDAT %d\r\n%s|250 chunk\r\n|", len(chunk), chunk)
				}
				switch {
				case last != "":
					head()
					hears.WriteString("BDAT 0 LAST\r\n|250 queued\r\n|")
					wants.WriteString("250 queued\r\n")
				case chunk != "":
					wants.WriteString("250 chunk\r\n")
				default:
					wants.WriteString("250 gate.example OK\r\n")
				}
			}
			go func() {
				for rest := says.String(); rest != ""; {
					n := min(step, len(rest))
					r.client.say(rest[:n])
					rest = rest[n:]
				}
			}()
			turns := strings.Split(strings.TrimSuffix(hears.String(), "|"), "|")
			for i := 0; i < len(turns); i += 2 {
				r.server.hears(turns[i])
				r.server.say(turns[i+1])
			}
			r.client.hears(wants.String())
			r.wantScanned(tc.apart + strings.Join(tc.chunks, ""))
		}
	}
}

// A chunk of nothing opens a message and changes nothing else.
func TestEmptyChunkFirst(t *testing.T) {
	r := newRig(t, scanChunks)
	r.envelope()
	r.client.say("BDAT 0\r\n")
	r.client.hears("250 gate.example OK\r\n")
	r.client.say("DATA\r\n")
	r.client.hears("503 gate.example msg_transaction_failed\r\n")
	r.toServer("RSET\r\n")
	r.toClient("250 ok\r\n")
	r.client.say("BDAT 0\r\n") // no recipients now
	r.server.hears("RSET\r\n")
	r.server.say("250 hidden\r\n")
	r.client.hears("503 gate.example msg_transaction_failed\r\n")
	r.toServer("RSET\r\n")
	r.toClient("250 ok\r\n")
	r.nextEnvelope()
	r.client.say("BDAT 0\r\nBDAT 5\r\na: b\n")
	r.client.hears("250 gate.example OK\r\n")
	r.natChunk()
	r.server.hears("BDAT 5\r\na: b\n")
	r.toClient("452 full\r\n")
	r.client.say("BDAT 0\r\n") // behind a chunk that failed
	r.server.hears("RSET\r\n")
	r.server.say("250 hidden\r\n")
	r.client.hears("503 gate.example msg_transaction_failed\r\n")
}
