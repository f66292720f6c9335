// Python's smtplib sends a text that is given in octets with the line ends it has,
// and stuffs dots behind each of them.

package session

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

const pythonSends = `
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "client.example") as s:
    s.sendmail("a@client.example", ["b@mx.example"], sys.stdin.buffer.read())
`

func sendByPython(t *testing.T, addr, text string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("python3", "-c", pythonSends, port)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("python3: %v: %s", err, out)
	}
}

// Through the gateway a server takes what it would take from Python itself.
func TestPythonSendsDots(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		lacks(t, "%v", err)
	}
	x := newMX(t, readings[1])
	h := newHouse(t, x.addr, nil)
	postfix := startPostfix(t)
	p := newHouse(t, postfix.addr, nil)
	p.set(func() { p.number += 100 }) // they share a folder
	for _, end := range []string{"\n", "\r\n"} {
		text := strings.ReplaceAll("Subject: dots\n\n.head\n..two\n.\n...\n. \n\n.end\n", "\n", end)
		var got []string
		for _, addr := range []string{x.addr, h.addr} {
			sendByPython(t, addr, text)
			c := x.call(t, "client.example")
			if len(c.messages) != 1 {
				t.Fatalf("taken %q", c.messages)
			}
			got = append(got, natHeader.ReplaceAllString(c.messages[0], ""))
		}
		if got[0] != got[1] || !strings.Contains(got[0], "\r\n.head\r\n..two\r\n.\r\n...\r\n. \r\n\r\n.end\r\n") {
			t.Errorf("direct %q\nthrough the gateway %q", got[0], got[1])
		}
		h.wantScanned(got[1])
		h.set(func() { h.scanned = nil })

		got = nil
		for _, addr := range []string{postfix.addr, p.addr} {
			sendByPython(t, addr, text)
			mails := postfix.settle(t)
			if len(mails) != 1 {
				t.Fatalf("delivered %q", mails)
			}
			_, body, _ := strings.Cut(mails[0], "\n\n")
			got = append(got, body)
		}
		if got[0] != got[1] || !strings.HasPrefix(got[0], ".head\n..two\n.\n...\n. \n\n.end\n") {
			t.Errorf("Postfix delivers %q\nthrough the gateway %q", got[0], got[1])
		}
	}
}
