package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func TestClientOf(t *testing.T) {
	for record, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "192.0.2.7-joe": "192.0.2.7-joe", "2001:db8::": "2001:db8::", "2001:db8::/64": "2001:db8::/64",
		"/var/spool/smtp-gated/ratelimit/192.0.2.7": "192.0.2.7", "ratelimit/192.0.2.7-joe": "192.0.2.7-joe", "./2001:db8::1": "2001:db8::1",
		"": "", "joe": "joe", "/": "/",
	} {
		if got := clientOf(record); got != want {
			t.Errorf("%q: %q, want %q", record, got, want)
		}
	}
}

func TestWriteRecord(t *testing.T) {
	numbers := make([]uint64, imsg.RateCounters)
	for i := range numbers {
		numbers[i] = uint64(i)
	}
	var b strings.Builder
	writeRecord(&b, &imsg.RateRecord{
		Entry:   imsg.RateEntry{Client: "192.0.2.7", Bits: 32, Own: true, Generation: 9, Cleared: 1e18, Quotas: numbers, Used: numbers, Tries: numbers, Targets: 1},
		Targets: []imsg.RateTarget{{Address: netip.MustParseAddr("192.0.2.25"), Last: 1e18}},
	})
	for _, want := range []string{
		"client: 192.0.2.7\nbits: 32\ndamaged: no\nquotas: own\ngeneration: 9\ncleared.unix: 1000000000\ncleared.string: ",
		"\nexpires.unix: 0\nexpires.string: never\nconnections.used: 0\n", "\nbytes.used: 3\nbytes.tries: 3\nbytes.quota: 3\n",
		"\ntargets: 1\ntarget.0.ip: 192.0.2.25\ntarget.0.last.unix: 1000000000\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	writeRecord(&b, &imsg.RateRecord{Entry: imsg.RateEntry{Client: "192.0.2.7", Bits: 32, Damaged: true}})
	if b.String() != "client: 192.0.2.7\nbits: 32\ndamaged: yes\n" {
		t.Errorf("%s", b.String())
	}
}
