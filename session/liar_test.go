package session

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// liar gives the worker a lookupd that has been taken over: it answers each question for
// a target with octets of its own making.
func (h *house) liar(target netip.AddrPort, ident string) {
	h.t.Helper()
	near, far, err := link.Pair()
	if err != nil {
		h.t.Fatal(err)
	}
	defer far.Close()
	h.t.Cleanup(func() { near.Close() })
	h.Tell(&imsg.Peer{Room: imsg.Lookupd, Member: 7}, far)
	if _, err := link.Ask(h.Parent, &imsg.Ping{}, imsgtest.Patience); err != nil { // behind Peer
		h.t.Fatal(err)
	}
	address, err := target.MarshalBinary()
	if err != nil {
		h.t.Fatal(err)
	}
	go answerEach(near, append(append([]byte{0x92, 0xc4, byte(len(address))}, address...), append([]byte{0xd9, byte(len(ident))}, ident...)...))
}

// answerEach answers each question over a link with a TargetResult of this body.
func answerEach(link *os.File, body []byte) {
	question := make([]byte, imsg.MaxBody)
	for {
		n, err := link.Read(question)
		if err != nil || n < imsg.HeaderLen {
			return
		}
		frame := make([]byte, imsg.HeaderLen)
		binary.LittleEndian.PutUint16(frame, uint16(imsg.Row(&imsg.TargetResult{}).Type))
		copy(frame[2:8], question[2:8]) // the table's mark, and the call
		link.Write(append(frame, body...))
	}
}

// TestLyingLookupd: a lookupd that has been taken over cannot have the scanners see
// another message than the server. What it says with line ends or blanks in it is no
// answer; the parent hears who said it.
func TestLyingLookupd(t *testing.T) {
	from := stranger(t)
	for name, lie := range map[string]struct{ target, ident string }{
		"a zone":                {"[fe80::1%x\r\nX-Spam-Checked: yes]:25", "anna"},
		"an ident":              {"192.0.2.1:25", "anna\r\nX-Spam-Checked: yes"},
		"a long ident":          {"192.0.2.1:25", strings.Repeat("x", 33)},
		"no server":             {"0.0.0.0:25", "anna"},
		"ours in other clothes": {"[::ffff:127.0.0.1]:25", "anna"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, "127.0.0.1:1", remote)
			h.liar(netip.MustParseAddrPort(lie.target), lie.ident)
			conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp4", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			client := newTalker(t, "client", conn)
			client.say("MAIL FROM:<a>\r\nQUIT\r\n")
			client.hears("220 gate.example SMTP\r\n451 gate.example msg_lookup_failed: msg_lookup_unknown\r\n221 gate.example msg_sign_off\r\n")
			client.end()
			h.Logs("link closed", "peer=lookupd", "member=7", "bad message")
			h.LogsNot("NEW (", "X-Spam-Checked")
		})
	}
}
