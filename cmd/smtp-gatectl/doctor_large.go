// The probe of how large a mail may be for an engine. clamd cannot be asked for its limits,
// and calls clean what is beyond them: so it is shown mails with the test virus at their end.

package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	smallMail   = 4 << 10 // octets of a mail that any engine looks at
	largestMail = 256e6   // octets; no larger one is made
	halvings    = 6       // of what lies between what is looked at and what is not
)

// largeLimit is how long those scans may take, each of them behind others.
func largeLimit(p *patient) time.Duration { return (halvings+5)*p.slow() + probeTime }

// largeMail is a mail of a size, or some octets less, with the test virus at its end: as the
// end of the attachment that fills it, or in an attachment of its own. The first is the harder
// one, for the attachment is beyond the limits of a scanner that the mail is within: clamd
// adds both up for its MaxScanSize.
func largeMail(size int64, apart bool) io.Reader {
	const end = "\r\n--part--\r\n"
	part := func(name string) string {
		return "--part\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"" + name +
			"\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	}
	head := strings.TrimSuffix(mailText("Pictures"), "\r\n") + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"part\"\r\n\r\n" + part("picture")
	octets := make([]byte, 57) // what fills a line
	for i := range octets {
		octets[i] = byte(0x80 + i)
	}
	line := base64.StdEncoding.EncodeToString(octets) + "\r\n"
	virus := base64.StdEncoding.EncodeToString([]byte(eicar()))
	tail := virus[:len(line)-2] + "\r\n" + virus[len(line)-2:] + end
	if apart {
		tail = "\r\n" + part("invoice") + tail
	}
	filled := (size - int64(len(head)+len(tail))) / int64(len(line)) * int64(len(line))
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&repeated{text: line}, filled), strings.NewReader(tail))
}

// repeated is a text again and again.
type repeated struct {
	text string
	at   int
}

// Read implements io.Reader.
func (r *repeated) Read(b []byte) (n int, err error) {
	for n < len(b) {
		k := copy(b[n:], r.text[r.at:])
		n, r.at = n+k, (r.at+k)%len(r.text)
	}
	return n, nil
}

func probeLarge(ctx context.Context, p *patient) []result {
	small := new(strings.Builder)
	io.Copy(small, largeMail(smallMail, false))
	return p.eachEngine(ctx, "engine-ENGINE-large", imsg.RoleVirus, small.String(), func(id string, e engineSaid) result {
		if e.engine == imsg.EngineBuiltin.String() {
			return skip(id, "it has no limit of its own")
		}
		look := func(size int64) engineSaid { return p.lookAtLarge(ctx, e.engine, largeMail(size, e.virus == "")) }
		if e.virus == "" && look(smallMail).virus == "" {
			return skip(id, "it does not find the test virus in a small mail with attachments either: see engine-%s-eicar", e.engine)
		}
		room, err := namelessRoom()
		if err != nil {
			return skip(id, "how much memory is free cannot be told: %v", err)
		}
		return p.judgeLarge(ctx, id, int64(min(room/2, largestMail)), look)
	})
}

// judgeLarge looks for the size from which an engine does not find the test virus, below
// what may be tried.
func (p *patient) judgeLarge(ctx context.Context, id string, bound int64, look func(size int64) engineSaid) result {
	most := max(p.LargestScanned(), smallMail)
	size := min(most, max(bound, smallMail))
	e := look(size)
	switch {
	case e.virus != "" && size == most:
		return green(id, "found %s at the end of %s, in %s", e.virus, octets(size), brief(e.took.Seconds()))
	case e.virus != "":
		return skip(id, "found %s at the end of %s; up to %s are scanned, and so much was not tried", e.virus, octets(size), octets(most))
	}
	found, missed, clean := int64(smallMail), size, e.err == ""
	for range halvings {
		middle := found + (missed-found)/2
		m := look(middle)
		if ctx.Err() != nil {
			break // nothing was said
		}
		if m.virus != "" {
			found = middle
			continue
		}
		missed, clean, e = middle, clean || m.err == "", m
	}
	m := most>>20 + 2 // clamd's M, and room for the header that the gateway adds
	remedy := fmt.Sprintf("in clamd.conf, let MaxFileSize and StreamMaxLength be %dM and MaxScanSize %dM, or more, and restart clamd; or let {scan_max_size} and {size_limit} be %d: then what is larger is refused",
		m, 3*m, roundDown(found))
	seen := fmt.Sprintf("finds the test virus at the end of %s; it is shown mails of up to %s", octets(found), octets(most))
	switch {
	case clean:
		return red(id, remedy, "calls %s clean with the test virus at the end, and %s", octets(missed), seen)
	case p.IgnoreErrors:
		return red(id, remedy, "comes to no verdict on %s, and %s, which pass then: %s", octets(missed), seen, e.err)
	}
	return warn(id, remedy, "comes to no verdict on %s, and %s, which are put off then: %s", octets(missed), seen, e.err)
}

// roundDown makes a size one that is easy to write.
func roundDown(size int64) int64 {
	if size < 1e6 {
		return size
	}
	return size / 1e6 * 1e6
}

// lookAtLarge is what an engine says of a mail.
func (p *patient) lookAtLarge(ctx context.Context, engine string, mail io.Reader) engineSaid {
	said, err := p.scan(ctx, mail)
	if err != nil {
		return engineSaid{err: err.Error()}
	}
	for _, e := range said {
		if e.engine == engine && e.roles&imsg.RoleVirus != 0 {
			return e
		}
	}
	return engineSaid{err: "the daemon has not asked it"}
}
