package smtp

import (
	"bytes"
	"testing"
)

// FuzzOffer: a line of a server's offer stays one line, with its code and its place in
// the reply, and what is masked is no keyword that is known.
func FuzzOffer(f *testing.F) {
	for _, line := range []string{
		"250-SIZE 1000", "250 SIZE", "250-size  99999999999999999999", "250-STARTTLS", "250-XCLIENT NAME", "250 CHUNKING",
		"250-\tBINARYMIME", "250-", "250", "250 AUTH PLAIN", "250-AUTH=LOGIN SCRAM-SHA-1-PLUS", "250 auth\tx-plus", "250-SIZE\x00\xff",
	} {
		f.Add([]byte(line), uint8(23), int64(1000), int64(200))
	}
	f.Fuzz(func(t *testing.T, line []byte, flags uint8, limit, added int64) {
		if len(line) < 3 || bytes.ContainsAny(line, "\r\n") {
			return
		}
		r := &Reply{Line: line, Text: line[min(4, len(line)):], First: flags&8 != 0}
		o := &Offer{NoChunking: flags&1 != 0, NoStartTLS: flags&2 != 0, NoXClient: flags&4 != 0, NoBinding: flags&16 != 0, SizeLimit: max(limit, 0), Added: max(added, 0)}
		out, _ := o.Append([]byte("before"), r)
		out, found := bytes.CutPrefix(out, []byte("before"))
		body, ended := bytes.CutSuffix(out, []byte("\r\n"))
		if !found || !ended || bytes.ContainsAny(body, "\r\n") || !bytes.HasPrefix(body, line[:min(4, len(line))]) {
			t.Fatalf("%q becomes %q", line, out)
		}
		if o.NoBinding && !r.First && isAuth(line[min(4, len(line)):]) {
			for word := range bytes.FieldsSeq(body) {
				if isBound(bytes.TrimPrefix(word, []byte("AUTH="))) && !bytes.HasSuffix(word, []byte("=-PLUS")) {
					t.Errorf("%q becomes %q, which offers %s", line, body, word)
				}
			}
		}
		if x := findExtension(body[min(4, len(body)):]); x != nil && !r.First && o.masks(x.Treatment) {
			t.Errorf("%q becomes %q, which offers %s", line, out, x.Keyword)
		}
	})
}
