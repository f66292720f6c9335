package session

import (
	"strconv"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func scanChunks(c *imsg.SessionConfig) { c.ScanChunks = true }

// envelope brings a session to the point where the first chunk may come.
func (r *rig) envelope() {
	r.t.Helper()
	r.toClient("220 mx.example ESMTP\r\n")
	r.toServer("EHLO client.example\r\n")
	r.toClient("250-mx.example\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n")
	r.nextEnvelope()
}

func (r *rig) nextEnvelope() {
	r.t.Helper()
	r.toServer("MAIL FROM:<a@client.example> BODY=BINARYMIME\r\n")
	r.toClient("250 ok\r\n")
	r.toServer("RCPT TO:<b@mx.example>\r\n")
	r.toClient("250 ok\r\n")
}

// natChunk takes the header's own chunk as the server.
func (r *rig) natChunk() {
	r.t.Helper()
	size, ok := strings.CutPrefix(r.server.line(), "BDAT ")
	n, err := strconv.Atoi(size)
	if !ok || err != nil {
		r.t.Fatalf("server hears BDAT %q", size)
	}
	got := 0
	for got < n {
		got += len(r.server.line()) + 2
	}
	if got != n {
		r.t.Fatalf("NAT header of %d octets in a chunk of %d", got, n)
	}
	r.server.say("250 header\r\n")
}

func (r *house) scannedBodies() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, text := range r.scanned {
		_, body, _ := strings.Cut(text, "\r\n")
		list = append(list, body)
	}
	return list
}

func (r *house) wantScanned(want ...string) {
	r.t.Helper()
	got := r.scannedBodies()
	if len(got) != len(want) {
		r.t.Fatalf("scanned %q\nwant %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			r.t.Errorf("scanned %q\nwant %q", got[i], want[i])
		}
	}
}

// Octets are octets: dots, bare LF and NUL reach server and scanner unchanged.
func TestChunks(t *testing.T) {
	r := newRig(t, scanChunks)
	r.envelope()
	r.client.say("BDAT 8\r\n.\r\n\x00\n\r.\r")
	r.natChunk()
	r.server.hears("BDAT 8\r\n.\r\n\x00\n\r.\r")
	r.toClient("250 first\r\n")
	r.client.say("bdat \t 6  last \r\nQUIT\r\n")
	r.server.hears("BDAT 6\r\nQUIT\r\n")
	r.server.say("250 hidden\r\n")
	r.server.hears("BDAT 0 LAST\r\n")
	r.wantScanned("\r\n.\r\n\x00\n\r.\rQUIT\r\n")
	r.toClient("250 queued\r\n")
	r.nextEnvelope()
	r.client.say("BDAT 3 LAST\r\nabc")
	r.natChunk()
	r.server.hears("BDAT 3\r\nabc")
	r.server.say("250 hidden\r\n")
	r.server.hears("BDAT 0 LAST\r\n")
	r.toClient("250 queued again\r\n")
	r.wantScanned("\r\n.\r\n\x00\n\r.\rQUIT\r\n", "\r\nabc")
}

func TestChunkEmptyLast(t *testing.T) {
	r := newRig(t, scanChunks)
	r.envelope()
	r.client.say("BDAT 3\r\nabcBDAT 0\r\nBDAT 0 LAST\r\nNOOP\r\n")
	r.natChunk()
	r.server.hears("BDAT 3\r\nabc")
	r.server.say("250 one\r\n")
	r.client.hears("250 one\r\n250 gate.example OK\r\n") // some servers refuse an empty one
	r.server.hears("BDAT 0 LAST\r\nNOOP\r\n")
	r.toClient("250 queued\r\n250 noop\r\n")
	r.wantScanned("\r\nabc")
}

// The whole session in one piece (RFC 3030, 4.1 and 4.2, with RFC 2920).
func TestChunksPipelined(t *testing.T) {
	r := newRig(t, scanChunks)
	r.toClient("220 mx\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
	r.client.say("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 2\r\n12BDAT 3\r\n345BDAT 1 LAST\r\n6" +
		"MAIL FROM:<c>\r\nRCPT TO:<d>\r\nDATA\r\ntext\r\n.\r\nQUIT\r\n")
	r.server.hears("MAIL FROM:<a>\r\nRCPT TO:<b>\r\n")
	r.toClient("250 ok\r\n250 ok\r\n")
	r.natChunk()
	r.server.hears("BDAT 2\r\n12BDAT 3\r\n345BDAT 1\r\n6")
	r.server.say("250 two\r\n250-three\r\n250 three\r\n250 hidden\r\n")
	r.client.hears("250 two\r\n250-three\r\n250 three\r\n")
	r.server.hears("BDAT 0 LAST\r\nMAIL FROM:<c>\r\nRCPT TO:<d>\r\nDATA\r\n")
	r.toClient("250 queued\r\n250 ok\r\n250 ok\r\n354 go\r\n")
	r.natHeaderApart()
	r.server.hears("text\r\n.\r\nQUIT\r\n")
	r.toClient("250 queued\r\n221 bye\r\n")
	r.wantScanned("\r\n123456", "\r\ntext\r\n")
}

func TestChunksRefusedByServer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		replies string // to the two chunks
		client  string
	}{
		{"the first", "452 full\r\n503 no\r\n", "452 full\r\n503 no\r\n"},
		{"the first alone", "452 full\r\n250 ok\r\n", "452 full\r\n503 gate.example msg_transaction_failed\r\n"},
		{"the last", "250 ok\r\n552 too big\r\n", "250 ok\r\n552 too big\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, scanChunks)
			r.envelope()
			r.client.say("BDAT 2\r\n12BDAT 3 LAST\r\n345")
			r.natChunk()
			r.server.hears("BDAT 2\r\n12BDAT 3\r\n345")
			r.server.say(tc.replies)
			r.server.hears("RSET\r\n")
			r.server.say("250 reset\r\n")
			r.client.hears(tc.client)
			r.nextEnvelope() // nothing of the failed message is left
			r.client.say("BDAT 1 LAST\r\nx")
			r.natChunk()
			r.server.hears("BDAT 1\r\nx")
			r.server.say("250 ok\r\n")
			r.server.hears("BDAT 0 LAST\r\n")
			r.toClient("250 queued\r\n")
			r.wantScanned("\r\nx")
			r.nothingElseSpooled()
		})
	}
}

func (r *rig) nothingElseSpooled() {
	r.client.conn.Close()
	r.nothingSpooled()
}

// A client goes on after a refusal: every chunk is discarded until it resets.
func TestChunksAfterRefusal(t *testing.T) {
	r := newRig(t, scanChunks)
	r.envelope()
	r.client.say("BDAT 2\r\n12")
	r.natChunk()
	r.server.hears("BDAT 2\r\n12")
	r.toClient("452 full\r\n")
	r.client.say("BDAT 6\r\nQUIT\r\nDATA\r\nBDAT 6\r\nQUIT\r\nRSET\r\n")
	r.server.hears("RSET\r\n")
	r.server.say("250 hidden\r\n")
	no := "503 gate.example msg_transaction_failed\r\n"
	r.client.hears(no + no + no)
	r.server.hears("RSET\r\n")
	r.toClient("250 reset\r\n")
	r.client.say("BDAT 6 LAST\r\nQUIT\r\n") // no recipients
	r.server.hears("RSET\r\n")
	r.server.say("250 hidden\r\n")
	r.client.hears(no)
	r.toServer("NOOP\r\n")
}

func TestChunkHeaderRefused(t *testing.T) {
	r := newRig(t, scanChunks)
	r.envelope()
	r.client.say("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
	line := r.server.line()
	n, _ := strconv.Atoi(strings.TrimPrefix(line, "BDAT "))
	for n > 0 {
		n -= len(r.server.line()) + 2
	}
	r.toClient("554 no chunks today\r\n")
	r.server.hears("RSET\r\nNOOP\r\n")
	r.server.say("250 hidden\r\n250 noop\r\n")
	r.client.hears("250 noop\r\n")
	r.wantScanned()
}

func TestChunkOutOfPlace(t *testing.T) {
	r := newRig(t, scanChunks)
	r.toClient("220 mx\r\n")
	// A server that does not offer CHUNKING, or not in answer to what was
	// said last, would read the octets as commands.
	r.client.say("BDAT 6\r\nQUIT\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 CHUNKING\r\n")
	r.client.say("HELO c\r\nBDAT 6\r\nQUIT\r\n")
	r.server.hears("HELO c\r\n")
	r.server.say("250 mx\r\n")
	r.client.hears("250 mx\r\n502 gate.example msg_unimpl_command\r\n")
	r.toServer("EHLO c\r\n")
	r.toClient("250-mx\r\n250 CHUNKING\r\n")
	for _, tc := range []struct{ command, code string }{
		{"BDAT 6\r\nQUIT\r\n", "503"},
		{"BDAT 6 LAST\r\nQUIT\r\n", "503"},
		{"BDAT\r\n", "501"},
		{"BDAT6\r\n", "501"},
		{"BDAT 6 LATE\r\nQUIT\r\n", "501"},
		{"BDAT 6x\r\nQUIT\r\n", "501"},
		{"BDAT -6\r\n", "501"},
		{"BDAT 0x6\r\n", "501"},
		{"BDAT LAST\r\n", "501"},
		{"BDAT +6 LAST\r\n", "501"},
	} {
		r.nextEnvelope()
		if tc.code == "503" {
			r.toServer("RSET\r\n")
			r.toClient("250 ok\r\n")
		}
		r.client.say(tc.command + "NOOP\r\n")
		r.server.hears("RSET\r\nNOOP\r\n")
		r.server.say("250 hidden\r\n250 noop\r\n")
		if line := r.client.line(); !strings.HasPrefix(line, tc.code+" gate.example ") {
			t.Errorf("%q answered with %q", tc.command, line)
		}
		r.client.hears("250 noop\r\n")
		r.toServer("RSET\r\n")
		r.toClient("250 ok\r\n")
	}
	r.client.say("BDAT 99999999999999999999\r\nQUIT\r\n")
	r.client.hears("501 gate.example msg_proto_error\r\n")
	r.client.end()
	r.server.end()
}

// What may not follow a chunk, and what ends a message in chunks early.
func TestChunksInterrupted(t *testing.T) {
	no := "503 gate.example msg_transaction_failed\r\n"
	open := func(t *testing.T) *rig {
		r := newRig(t, scanChunks)
		r.envelope()
		r.client.say("BDAT 4\r\nevil")
		r.natChunk()
		r.server.hears("BDAT 4\r\nevil")
		r.toClient("250 ok\r\n")
		return r
	}
	clean := func(r *rig) {
		r.nextEnvelope()
		r.client.say("BDAT 4 LAST\r\ngood")
		r.natChunk()
		r.server.hears("BDAT 4\r\ngood")
		r.server.say("250 ok\r\n")
		r.server.hears("BDAT 0 LAST\r\n")
		r.toClient("250 queued\r\n")
		r.wantScanned("\r\ngood")
	}
	t.Run("DATA", func(t *testing.T) {
		r := open(t)
		r.client.say("DATA\r\n")
		r.client.hears(no)
		r.client.say("BDAT 0 LAST\r\n")
		r.server.hears("BDAT 0 LAST\r\n")
		r.wantScanned("\r\nevil")
	})
	t.Run("MAIL", func(t *testing.T) {
		r := open(t)
		r.client.say("MAIL FROM:<x>\r\n")
		r.client.hears(no)
	})
	t.Run("RSET", func(t *testing.T) {
		r := open(t)
		r.toServer("RSET\r\n")
		r.toClient("250 ok\r\n")
		clean(r)
	})
	t.Run("RSET that is refused", func(t *testing.T) {
		r := open(t)
		r.toServer("RSET now\r\n")
		r.toClient("501 no arguments\r\n")
		r.client.say("BDAT 4 LAST\r\ngood")
		r.server.hears("BDAT 4\r\ngood")
		r.server.say("250 ok\r\n")
		r.server.hears("BDAT 0 LAST\r\n")
		r.wantScanned("\r\nevilgood")
	})
	t.Run("EHLO", func(t *testing.T) {
		r := open(t)
		r.client.say("EHLO again\r\n")
		r.server.hears("RSET\r\nEHLO again\r\n")
		r.server.say("250 reset\r\n250-mx\r\n250 CHUNKING\r\n")
		r.client.hears("250-mx\r\n250 CHUNKING\r\n")
		clean(r)
	})
	t.Run("client vanishes", func(t *testing.T) {
		r := open(t)
		r.client.say("BDAT 100 LAST\r\nhalf")
		r.server.hears("BDAT 100\r\nhalf")
		r.client.conn.Close()
		r.server.end()
		r.nothingSpooled()
	})
}

func TestChunksInfected(t *testing.T) {
	for _, failed := range []bool{false, true} {
		r := newRig(t, scanChunks)
		want := "550 gate.example msg_virus_found (Eicar)\r\n"
		r.set(func() { r.verdict = found(imsg.Finding{Outcome: imsg.Caught, Name: "Eicar"}, imsg.Finding{}) })
		if failed {
			want = "451 gate.example msg_scanner_failed\r\n"
			r.set(func() { r.verdict = found(imsg.Finding{Outcome: imsg.Failed}, imsg.Finding{}) })
		}
		r.envelope()
		r.client.say("BDAT 4 LAST\r\nevil")
		r.natChunk()
		r.server.hears("BDAT 4\r\nevil")
		r.server.say("250 ok\r\n")
		r.server.hears("RSET\r\nQUIT\r\n")
		r.server.end()
		r.client.hears(want)
		r.client.say("BDAT 6\r\nQUIT\r\nQUIT\r\n")
		r.client.hears("502 gate.example msg_unimpl_command\r\n221 gate.example msg_sign_off\r\n")
		r.client.end()
	}
}

func TestChunkSizeLimit(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.ScanChunks, c.SizeLimit = true, 10 })
	r.envelope()
	r.client.say("BDAT 8\r\n01234567")
	r.natChunk()
	r.server.hears("BDAT 8\r\n01234567")
	r.toClient("250 ok\r\n")
	r.client.say("BDAT 3 LAST\r\nabcNOOP\r\n")
	r.server.hears("RSET\r\nNOOP\r\n")
	r.server.say("250 hidden\r\n250 noop\r\n")
	r.client.hears("552 gate.example msg_size_limit (10 octets at most)\r\n250 noop\r\n")
	r.nextEnvelope()
	r.client.say("BDAT 9223372036854775806 LAST\r\n")
	r.server.hears("RSET\r\n")
}

// A chunk larger than any buffer streams through.
func TestLargeChunk(t *testing.T) {
	const size = 5 << 20
	r := newRig(t, scanChunks)
	r.envelope()
	text := strings.Repeat("0123456789abcde\n", size/16)
	go r.client.say("BDAT " + strconv.Itoa(size) + " LAST\r\n" + text + "NOOP\r\n")
	r.natChunk()
	r.server.hears("BDAT " + strconv.Itoa(size) + "\r\n" + text)
	r.server.say("250 ok\r\n")
	r.server.hears("BDAT 0 LAST\r\nNOOP\r\n")
	r.wantScanned("\r\n" + text)
}

func TestChunkNeedsAuth(t *testing.T) {
	r := newRig(t, func(c *imsg.SessionConfig) { c.ScanChunks, c.AuthRequire = true, imsg.AuthMandatory })
	r.envelope()
	r.client.say("BDAT 6 LAST\r\nQUIT\r\n")
	r.server.hears("RSET\r\n")
	r.server.say("250 hidden\r\n")
	r.client.hears("530 gate.example msg_auth_required\r\n")
}

func TestChunkingFiltered(t *testing.T) {
	r := newRig(t, nil)
	r.toClient("220 mx\r\n")
	r.client.say("EHLO c\r\n")
	r.server.hears("EHLO c\r\n")
	r.server.say("250-mx\r\n250-CHUNKING\r\n250 BINARYMIME\r\n")
	r.client.hears("250-mx\r\n250-CHU*KING\r\n250 BIN*RYMIME\r\n")
	r.client.say("BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\nNOOP\r\n")
	r.client.hears("502 gate.example msg_unimpl_command\r\n502 gate.example msg_unimpl_command\r\n")
	r.toClientAfter("NOOP\r\n", "250 ok\r\n")
}

func (r *rig) toClientAfter(command, reply string) {
	r.t.Helper()
	r.server.hears(command)
	r.toClient(reply)
}
