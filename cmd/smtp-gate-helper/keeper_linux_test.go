package main

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzVerdict: whatever the keeper says, it is an origin or an error, and an origin is
// what it was in the fixed form in which it crossed.
func FuzzVerdict(f *testing.F) {
	f.Add(appendEnd(appendEnd([]byte{verdictFound}, behind4), target4))
	f.Add(appendEnd(appendEnd([]byte{verdictFound}, behind6), target6))
	f.Add([]byte{verdictUnknown})
	f.Add([]byte{verdictFailed})
	f.Add([]byte("\x02operation not permitted"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, said []byte) {
		c := new(overheard)
		c.in.Reset(said)
		o, err := (&keeper{conn: c}).find(behind4, target4)
		if want := appendEnd(appendEnd(nil, behind4), target4); !bytes.Equal(c.said.Bytes(), want) || len(want) != questionLen {
			t.Errorf("asked %x", c.said.Bytes())
		}
		if err != nil {
			if o != (origin{}) {
				t.Errorf("%x: %v and %v", said, o, err)
			}
			return
		}
		if again := appendEnd(appendEnd([]byte{verdictFound}, o.client), o.server); !bytes.Equal(again, said) {
			t.Errorf("%x reads as %v, which is %x", said, o, again)
		}
	})
}

// FuzzKept: the question of fixed size that the keeper reads is about the two ends whose
// octets it holds.
func FuzzKept(f *testing.F) {
	f.Add(appendEnd(appendEnd(nil, behind4), target6))
	f.Fuzz(func(t *testing.T, question []byte) {
		if len(question) != questionLen {
			return
		}
		client, proxy := readEnd(question), readEnd(question[endLen:])
		if again := appendEnd(appendEnd(nil, client), proxy); !bytes.Equal(again, question) {
			t.Errorf("%x reads as %v, %v", question, client, proxy)
		}
		for _, a := range []netip.AddrPort{client, proxy} {
			if !a.IsValid() || a.Addr().Is4In6() {
				t.Errorf("%v", a)
			}
		}
	})
}
