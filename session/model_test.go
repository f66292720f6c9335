// The model: a client and a server that keep to the standard hear through the
// gateway what they would hear from each other, except for what the contract
// changes: our header in the message, masked keywords, and LAST in a chunk of
// its own behind a chunk with our header.

package session

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// errand is one thing a client does; it waits for all replies before the next.
type errand struct {
	group []string // commands said in one go
	text  string   // said if the last command, DATA, got its 354; stuffed, with its end
	tail  []string // commands said in one go with the text
	chunk bool     // chunks, to be sent only if the server took a recipient
}

// modelText draws lines a client may send: any length, any octet but CR, LF, NUL.
func modelText(t *rapid.T) []string {
	line := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,80}`),
		rapid.StringMatching(`\.{1,3}[a-z]{0,3}`),
		rapid.Map(rapid.IntRange(0, 5000), func(n int) string { return strings.Repeat("long ", n/5) }),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(0x80, 0xff), 0, 40), func(b []byte) string { return string(b) }),
	)
	return rapid.SliceOfN(line, 0, 12).Draw(t, "text")
}

func modelErrands(t *rapid.T) []errand {
	address := rapid.SampledFrom([]string{"a@client.example", "refuse@client.example", "nodata@client.example", "\"a b\"@client.example", "\xc3\xa9@client.example", ""})
	recipient := rapid.SampledFrom([]string{"take@mx.example", "b@mx.example", "refuse@mx.example", "c@mx.example> NOTIFY=NEVER ORCPT=rfc822;x", "\xc3\xa9@mx.example"})
	small := rapid.SampledFrom([]string{"NOOP", "NOOP twice", "VRFY somebody", "HELP", "XYZZY \xe2\x98\x83", "RSET", "noop", "Expn list", "ETRN x", "BURL-LIKE x"})
	var list []errand
	for range rapid.IntRange(1, 6).Draw(t, "errands") {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			list = append(list, errand{group: rapid.SliceOfN(small, 1, 20).Draw(t, "small")})
		case 1:
			list = append(list, errand{group: []string{rapid.SampledFrom([]string{"EHLO again.example", "HELO again.example", "EHLO [192.0.2.1]"}).Draw(t, "hello")}})
		case 2:
			list = append(list, errand{group: []string{"AUTH PLAIN"}}, errand{group: []string{rapid.SampledFrom([]string{"*", "AGEAYg==", strings.Repeat("QUFB", 3000)}).Draw(t, "response")}})
		default:
			group := []string{fmt.Sprintf("MAIL FROM:<%s>", address.Draw(t, "from"))}
			for range rapid.IntRange(1, 5).Draw(t, "recipients") {
				group = append(group, fmt.Sprintf("RCPT TO:<%s>", recipient.Draw(t, "to")))
				if rapid.Bool().Draw(t, "noop") {
					group = append(group, small.Draw(t, "between"))
				}
			}
			if rapid.Bool().Draw(t, "chunked") {
				list = append(list, errand{group: group})
				var chunks []string
				for range rapid.IntRange(1, 4).Draw(t, "chunks") {
					text := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "octets")
					chunks = append(chunks, fmt.Sprintf("BDAT %d\r\n%s", len(text), text))
				}
				last := &chunks[len(chunks)-1]
				*last = strings.Replace(*last, "\r\n", rapid.SampledFrom([]string{" LAST\r\n", " last\r\n"}).Draw(t, "last"), 1)
				list = append(list, errand{group: chunks, chunk: true})
			} else {
				var text strings.Builder
				for _, line := range modelText(t) {
					if strings.HasPrefix(line, ".") {
						text.WriteByte('.')
					}
					text.WriteString(line + "\r\n")
				}
				list = append(list, errand{group: append(group, "DATA"), text: text.String() + ".\r\n", tail: rapid.SliceOfN(small, 0, 3).Draw(t, "tail")})
			}
			list = append(list, errand{group: []string{"RSET"}})
		}
	}
	return append(list, errand{group: []string{"QUIT"}})
}

// reader takes replies off a connection.
type replyReader struct {
	conn net.Conn
	buf  []byte
	all  strings.Builder
}

// next returns the code of the next whole reply.
func (r *replyReader) next() (string, error) {
	for b := make([]byte, 16<<10); ; {
		if i := strings.Index(string(r.buf), "\r\n"); i >= 0 {
			line := string(r.buf[:i])
			r.buf = r.buf[i+2:]
			r.all.WriteString(line + "\n")
			if len(line) < 4 || line[3] == ' ' {
				return line[:min(3, len(line))], nil
			}
			continue
		}
		n, err := r.conn.Read(b)
		r.buf = append(r.buf, b[:n]...)
		if err != nil && n == 0 {
			return "", err
		}
	}
}

// runErrands plays the client and returns all it heard.
func runErrands(addr, tag string, errands []errand) (heard string, src string, err error) {
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	conn.SetDeadline(imsgtest.Deadline())
	r := &replyReader{conn: conn}
	defer func() { heard = r.all.String() }()
	src = conn.LocalAddr().String()
	if _, err := r.next(); err != nil {
		return "", src, err
	}
	takes := 0     // recipients the server took in the group before
	plain := false // HELO was said last: there are no extensions
	for _, e := range append([]errand{{group: []string{"EHLO " + tag}}}, errands...) {
		if e.chunk && (takes == 0 || plain) {
			continue
		}
		var said strings.Builder
		for _, line := range e.group {
			said.WriteString(line)
			if !e.chunk {
				said.WriteString("\r\n")
			}
		}
		if _, err := io.WriteString(conn, said.String()); err != nil {
			return "", src, err
		}
		takes = 0
		var code string
		for i, line := range e.group {
			if code, err = r.next(); err != nil {
				return "", src, fmt.Errorf("reply %d to %q: %w", i, e.group, err)
			}
			switch {
			case strings.HasPrefix(line, "RCPT") && code == "250":
				takes++
			case line == "RSET":
				takes = 0
			case strings.HasPrefix(line, "EHLO "):
				plain = false
			case strings.HasPrefix(line, "HELO "):
				plain = true
			}
		}
		if e.text == "" || code != "354" {
			continue
		}
		said.Reset()
		said.WriteString(e.text)
		for _, line := range e.tail {
			said.WriteString(line + "\r\n")
		}
		if _, err := io.WriteString(conn, said.String()); err != nil {
			return "", src, err
		}
		for range 1 + len(e.tail) {
			if _, err := r.next(); err != nil {
				return "", src, fmt.Errorf("behind a text and %q: %w", e.tail, err)
			}
		}
	}
	_, err = r.next()
	if err == io.EOF {
		err = nil
	}
	return "", src, err
}

// changed is what the contract makes of a transcript.
var changed = strings.NewReplacer(func() (pairs []string) {
	pairs = append(pairs, noEmptyChunk, "250 gate.example OK")
	for _, offer := range privateOffers {
		pairs = append(pairs, "-"+offer+"\n", "-"+offer[:3]+"*"+offer[4:]+"\n")
	}
	return pairs
}()...)

// lowered is the limit that the model server declares, less a header of ours.
var lowered = regexp.MustCompile(`-SIZE 99999[89]\d\d\n`)

// beginsAsHeader matches a message that needs no empty line before it.
var beginsAsHeader = regexp.MustCompile(`^([!-9;-~]{1,997}[ \t]*:|\r\n|$)`)

// asForwarded is what a server hears of commands that came through the gateway.
func asForwarded(did []string) []string {
	var list []string
	for _, line := range did {
		verb, arg, _ := strings.Cut(line, " ")
		if line == "BDAT 0" {
			continue
		}
		if size, last, found := strings.Cut(arg, " "); verb == "BDAT" && found && strings.EqualFold(last, "LAST") {
			if size != "0" {
				list = append(list, "BDAT "+size)
			}
			line = "BDAT 0 LAST"
		}
		list = append(list, line)
	}
	return list
}

func isChunk(line string) bool { return strings.HasPrefix(line, "BDAT ") }

// told is what a server hears that is told of its client first.
func told(did []string, src string) []string {
	_, port, _ := strings.Cut(src, ":")
	return append([]string{"EHLO gate.example", "XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE] PORT=" + port + " LOGIN=[UNAVAILABLE]"}, did...)
}

func TestModel(t *testing.T) {
	x := newMX(t, readings[0])
	forModel := func(c *imsg.SessionConfig) {
		c.ScanChunks = true
		c.PipelineSize = least
		c.Antispam = false
		c.SizeLimit = 0
	}
	plain := newLab(t, x.addr, forModel)
	telling := newLab(t, x.addr, func(c *imsg.SessionConfig) { forModel(c); withXclient(c) })
	telling.set(func() { telling.number = 1_000_000 }) // the two share a spool
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		errands := modelErrands(rt)
		fickle := rapid.Uint32().Draw(rt, "fickle")
		x.mu.Lock()
		x.fickle = fickle
		x.mu.Unlock()
		l, tells := plain, rapid.Bool().Draw(rt, "xclient")
		if tells {
			l = telling
		}
		one, other := fmt.Sprintf("%d.direct", round), fmt.Sprintf("%d.gate", round)
		want, _, err := runErrands(x.addr, one, errands)
		if err != nil {
			rt.Fatalf("without the gateway: %v", err)
		}
		got, src, err := runErrands(l.addr, other, errands)
		if err != nil {
			rt.Fatalf("through the gateway: %v\nheard %q\n want %q", err, got, want)
		}
		want = changed.Replace(want)
		got = lowered.ReplaceAllString(got, "-SIZE 100000000\n")
		if tells {
			want = strings.ReplaceAll(want, "-XCLIENT ", "-XCL*ENT ")
		}
		if got != want {
			rt.Fatalf("the client hears\n%q\nwant\n%q", got, want)
		}
		near, far := x.call(t, one), x.call(t, other)
		var did []string
		for i, line := range far.did {
			if isChunk(line) && (!isChunk(far.did[i-1]) || strings.HasSuffix(far.did[i-1], "LAST")) {
				continue // our header
			}
			did = append(did, line)
		}
		acts := asForwarded(append([]string{"EHLO " + other}, near.did[1:]...))
		if tells {
			acts = told(acts, src)
		}
		if !slices.Equal(did, acts) {
			rt.Fatalf("the server hears\n%.2000q\nwant\n%.2000q", did, acts)
		}
		var messages []string
		for _, m := range far.messages {
			text, ok := received(m, src)
			if !ok {
				rt.Fatalf("no header of ours: %.300q", m)
			}
			messages = append(messages, text)
		}
		taken := slices.Clone(near.messages)
		for i, m := range taken {
			// In chunks the first of them decides alone, and may tell less.
			parted := len(messages) > i && messages[i] == "\r\n"+m && !strings.HasPrefix(m, "\r\n")
			if parted || !beginsAsHeader.MatchString(m) {
				taken[i] = "\r\n" + m
			}
		}
		if !slices.Equal(messages, taken) {
			rt.Fatalf("the server takes\n%.2000q\nwant\n%.2000q", messages, taken)
		}
		p := &passage{src: src}
		l.scans(p)
		if !slices.Equal(p.clean, taken) {
			rt.Fatalf("the scanner sees\n%.2000q\nwant\n%.2000q", p.clean, taken)
		}
		x.mu.Lock()
		clear(x.calls)
		x.mu.Unlock()
	})
}
