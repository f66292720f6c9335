// The client of the demonstration: it sends one mail and shows the dialogue as
// it goes.

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// dialogue shows what is said.
type dialogue struct {
	show io.Writer
	ink  ink
	tls  *tls.Config // how TLS is begun by STARTTLS; nil: not at all
}

// send delivers mail to the gateway at address from the loopback address
// client. It returns the reply that decided: to the message, or the first that
// refused.
func (d dialogue) send(ctx context.Context, client, address, mail string) (reply string, err error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp4", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	plain := conn
	defer context.AfterFunc(ctx, func() { plain.Close() })()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)

	reply, err = d.hear(in)
	if err != nil || reply[0] != '2' {
		return reply, err
	}
	if d.tls != nil {
		if reply, err = d.exchange(conn, in, "EHLO client.demo", "STARTTLS"); err != nil || reply[0] != '2' {
			return reply, err
		}
		secured := tls.Client(conn, d.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return "", err
		}
		state := secured.ConnectionState()
		fmt.Fprintf(d.show, "   (%s, with %s)\n", tls.VersionName(state.Version), state.PeerCertificates[0].Subject.CommonName)
		conn, in = secured, bufio.NewReader(secured)
	}
	reply, err = d.exchange(conn, in,
		"EHLO client.demo",
		"MAIL FROM:<sender@client.demo>",
		"RCPT TO:<reader@mail.demo>",
		"DATA",
		mail)
	if err != nil {
		return "", err
	}
	if err := d.say(conn, "QUIT"); err != nil {
		return "", err
	}
	// The mail's fate is known; what answers QUIT is for the eye.
	if _, err := d.hear(in); err != nil {
		fmt.Fprintf(d.show, "   (the connection ended: %v)\n", err)
	}
	return reply, nil
}

// exchange says one command after the other, while none is refused, and returns the last
// reply.
func (d dialogue) exchange(conn net.Conn, in *bufio.Reader, commands ...string) (reply string, err error) {
	for _, command := range commands {
		if err := d.say(conn, command); err != nil {
			return "", err
		}
		if reply, err = d.hear(in); err != nil {
			return "", err
		}
		if reply[0] != '2' && reply[0] != '3' {
			break
		}
	}
	return reply, nil
}

// say sends a command, or a whole message with its end.
func (d dialogue) say(conn net.Conn, text string) error {
	if strings.Contains(text, "\r\n") {
		text += "."
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		fmt.Fprintf(d.show, "   C: %s\n", d.ink.said(line))
	}
	_, err := io.WriteString(conn, text+"\r\n")
	return err
}

// hear reads a whole reply and returns its last line.
func (d dialogue) hear(in *bufio.Reader) (string, error) {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read a reply: %w", err)
		}
		line = clean(strings.TrimRight(line, "\r\n"))
		if len(line) < 3 {
			return "", fmt.Errorf("%q is no reply", line)
		}
		shade := d.ink.good
		if line[0] > '3' {
			shade = d.ink.bad
		}
		fmt.Fprintf(d.show, "   S: %s\n", shade(line))
		if len(line) == 3 || line[3] != '-' {
			return line, nil
		}
	}
}

// mailText makes a message; each of its lines ends with CRLF.
func mailText(subject string, body ...string) string {
	head := []string{"From: sender@client.demo", "To: reader@mail.demo", "Subject: " + subject, ""}
	return strings.Join(append(head, body...), "\r\n") + "\r\n"
}

func cleanMail() string { return mailText("Lunch", "Shall we meet at noon?") }

// The two test strings are put together when they are needed: a scanner that
// looks at this program shall not take it for what it carries.

func eicar() string {
	return strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}`, `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!`, `H+H*`}, "$")
}

func eicarMail() string { return mailText("An invoice", eicar()) }

func gtubeMail() string {
	return mailText("A unique offer", strings.Join([]string{"XJS", "C4JDBQADN1.NSBN3", "2IDNEN", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL", "C.34X"}, "*"))
}
