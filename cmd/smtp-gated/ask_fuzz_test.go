package main

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/impostor"
)

// shown fails a test whose text is not for a terminal: printable lines.
func shown(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if line != imsg.Printable(line, len(line)) {
			t.Errorf("%q", line)
		}
	}
}

// FuzzStateShown: whatever a lockd that has been taken over writes as the state file, -s
// shows printable lines, one for each of the file.
func FuzzStateShown(f *testing.F) {
	for _, text := range []string{"", "a: b\n", "\x1b[2J\r\x9b\x00\n\n", "\xc3\xa9\xff\xfe", "\u202e\u2028\u0085\n", strings.Repeat("é", 40000)} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, state []byte, slow bool) {
		var from io.Reader = bytes.NewReader(state)
		if slow {
			from = iotest.OneByteReader(from)
		}
		var to strings.Builder
		if err := showState(&to, from); err != nil || to.Len() != len(state) || strings.Count(to.String(), "\n") != bytes.Count(state, []byte("\n")) {
			t.Errorf("%v, %d octets of %d", err, to.Len(), len(state))
		}
		shown(t, to.String())
	})
}

// FuzzRecordShown: whatever such a lockd answers to -L, that ends, and shows printable
// lines.
func FuzzRecordShown(f *testing.F) {
	const hostile = "\x1b[2Jx\r\n\x9b\xff\u202e"
	numbers := []uint64{1, 2, 3, 4, 5, 6, 7}
	entry := imsg.RateEntry{Client: hostile, Quotas: numbers, Used: numbers, Tries: numbers}
	for _, m := range []imsg.Message{
		&imsg.RateRecord{Entry: entry, Targets: []imsg.RateTarget{{Address: netip.MustParseAddr("fe80::1%x"), Last: -1}}},
		&imsg.RateRecord{Entry: entry},
		&imsg.RateRecord{Entry: imsg.RateEntry{Client: hostile, Damaged: true}},
		&imsg.Failure{Errno: imsg.Busy},
		&imsg.Done{Errno: imsg.Denied, Detail: hostile},
	} {
		var b bytes.Buffer
		e := msgpack.NewEncoder(&b)
		e.UseArrayEncodedStructs(true)
		e.UseCompactInts(true)
		if err := e.Encode(m); err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(imsg.Row(m).Type), b.Bytes())
	}
	var answer atomic.Pointer[impostor.Body]
	socket := impostor.Lockd(f, &answer)
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		answer.Store(&impostor.Body{Type: imsg.Type(typ), Octets: body})
		var b strings.Builder
		err := printRecord(&b, "192.0.2.7", socket)
		if (err == nil) == (b.Len() == 0) {
			t.Errorf("%v, %q", err, b.String())
		}
		if err != nil {
			shown(t, err.Error())
		}
		shown(t, b.String())
	})
}
