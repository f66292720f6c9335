package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

func rateEntry(client string, bits int) imsg.RateEntry {
	now := time.Now().UnixNano()
	e := imsg.RateEntry{Client: client, Bits: bits, Generation: 7, Cleared: now, Expires: now + hour + hour/60, Targets: 2}
	for c := range uint64(imsg.RateCounters) {
		e.Quotas = append(e.Quotas, c*1024)
		e.Used = append(e.Used, c*512)
		e.Tries = append(e.Tries, c)
	}
	return e
}

func TestRateList(t *testing.T) {
	const all = 290
	var off atomic.Bool
	socket := lockdAt(t, func(r link.Request) {
		if off.Load() {
			family.Answer(r, &imsg.RateList{})
			return
		}
		list := &imsg.RateList{Period: hour}
		for n := 0; n < all && len(list.Records) < imsg.RatePage; n++ {
			if e := rateEntry(fmt.Sprintf("192.0.2.%03d", n), 32); e.Client > r.Message.(*imsg.Rates).After {
				list.Records = append(list.Records, e)
				list.More = n < all-1
			}
		}
		if !list.More {
			own := rateEntry("2001:db8::-joe", 64)
			own.Own = true
			list.Records = append(list.Records, imsg.RateEntry{Client: "2001:db8:1::", Bits: 64, Damaged: true}, own)
		}
		family.Answer(r, list)
	})
	code, out, errs := gatectl("rate", "list", "--socket", socket)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != all+3 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, want := range map[int]string{
		0: "CLIENT", 1: "192.0.2.000", 2: "512 of 1024", 3: "1.5 KiB of 3.0 KiB",
		all: "everybody's", all + 1: "2001:db8:1::/64   ", all + 2: "2001:db8::/64-joe ",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("no %q in line %d: %s", want, i, lines[i])
		}
	}
	if f := strings.Fields(lines[1]); f[1] != "-" || !strings.Contains(lines[1], " in 1h0") {
		t.Errorf("%q", lines[1])
	}
	if !strings.HasSuffix(lines[all+2], "its own") || !strings.Contains(lines[all+1], " damaged: ") {
		t.Errorf("%q", lines[all+1:])
	}
	_, out, _ = gatectl("rate", "list", "--json", "--socket", socket)
	var list []rate
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != all+2 || list[1].Counters["messages"] != (usage{512, 1, 1024}) ||
		list[all+1].Network != "2001:db8::/64-joe" || list[all+1].Client != "2001:db8::-joe" || !list[all].Damaged {
		t.Errorf("%v: %d records", err, len(list))
	}
	off.Store(true)
	if code, out, _ := gatectl("rate", "list", "--socket", socket); code != exitOK || out != "rate limits are off: rate.period is 0\n" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestRateShow(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		e := rateEntry("192.0.2.7", 32)
		e.Own, e.Generation = true, math.MaxUint64
		family.Answer(r, &imsg.RateRecord{Entry: e, Targets: []imsg.RateTarget{{Address: netip.MustParseAddr("2001:db8::25"), Last: time.Now().UnixNano() - hour}}})
	})
	code, out, errs := gatectl("rate", "show", "192.0.2.7", "--socket", socket)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"client  192.0.2.7\n", "quotas  its own, which no generation ends\n", "ends in 1h0", "\nconnections       0     0      off\n", "bytes             1536  3      3072\n", "2001:db8::25  1h00m ago\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, out, _ = gatectl("rate", "show", "192.0.2.7", "--json", "--socket", socket)
	if !strings.Contains(out, `"generation":"18446744073709551615"`) { // no double holds it
		t.Errorf("%s", out)
	}
	out = strings.Replace(out, `"18446744073709551615"`, "7", 1)
	r := new(rate)
	if err := json.Unmarshal([]byte(out), r); err != nil || r.Client != "192.0.2.7" || len(r.Servers) != 1 || r.Servers[0].Address != "2001:db8::25" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRateForeign holds what is printed against an answer without sense.
func TestRateForeign(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		family.Answer(r, &imsg.RateList{Records: []imsg.RateEntry{{Client: "x\x1b", Quotas: []uint64{1}}}})
	})
	if code, out, errs := gatectl("rate", "list", "--socket", socket); code != exitOK || !strings.Contains(out, "x#      damaged") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestRateCompletion(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		family.Answer(r, &imsg.RateList{Records: []imsg.RateEntry{rateEntry("192.0.2.7", 32)}})
	})
	for begun, want := range map[string]string{"": "192.0.2.7\n", "192.0.2.7 ": "mailfrom_rejects=\n"} {
		args := append([]string{"__complete", "rate", "set", "--socket", socket}, strings.Split(begun, " ")...)
		if _, out, _ := gatectl(args...); !strings.Contains(out, want) {
			t.Errorf("%q: %s", begun, out)
		}
	}
}
