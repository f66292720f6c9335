package relay

import (
	"bytes"
	"flag"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

var onlySeed = flag.Uint64("seed", 0, "drive the session of this seed only; 0: of many")

// describe tells what a session was, and what has happened in it.
func (d *drive) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, lazy %v, rare %d, quotas %b, load %.1f\n", d.seed, d.lazy, d.rare, d.facts.Quotas, d.load)
	c := *d.facts.Config
	c.Texts = nil
	fmt.Fprintf(&b, "config %s\n", differing(c))
	m := d.server
	fmt.Fprintf(&b, "server: offers %q, refuses %d, odd %d, lenient %v, silent %v\n", m.offers, m.refuses, m.odd, m.lenient, m.silent)
	from := max(0, len(d.events)-150)
	fmt.Fprintf(&b, "%d events:", len(d.events))
	for _, e := range d.events[from:] {
		fmt.Fprintf(&b, " %s %d;", eventNames[e.what], e.n)
	}
	fmt.Fprintf(&b, "\n%s", d.talk())
	return b.String()
}

// talk is what was said, as each side heard it, and what the client has said.
func (d *drive) talk() string {
	var b strings.Builder
	for _, w := range d.words {
		if len(w.octets) > 400 {
			w.octets = fmt.Appendf(nil, "%s ... %s", w.octets[:300], w.octets[len(w.octets)-100:])
		}
		fmt.Fprintf(&b, "%s %q\n", w.who, w.octets)
	}
	return b.String()
}

// differing lists the fields that are not zero.
func differing(c any) string {
	var b strings.Builder
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			fmt.Fprintf(&b, "%s=%v ", v.Type().Field(i).Name, v.Field(i))
		}
	}
	return b.String()
}

// seeds calls f for each seed, or for the one that was asked for.
func seeds(n uint64, f func(seed uint64)) {
	if *onlySeed > 0 {
		f(*onlySeed)
		return
	}
	if imsgtest.Brief() {
		n /= 20
	}
	for seed := range n {
		f(seed + 1)
	}
}

// TestOrders drives sessions of all kinds, in which events come in any order.
func TestOrders(t *testing.T) {
	bad := 0
	seeds(20_000, func(seed uint64) {
		if bad > 2 {
			return
		}
		d := newDrive(seed, 0, false)
		if problem := d.run(); problem != "" {
			bad++
			d = newDrive(seed, 0, false)
			d.words = []word{}
			d.run()
			t.Errorf("%s\n%s", problem, d.describe())
		}
	})
}

// TestOrderIsNoMatter drives each session twice in one order, and in others: where nothing
// fails and nobody is late, client and server hear the same.
func TestOrderIsNoMatter(t *testing.T) {
	bad := 0
	// What a server was cut off in is not counted.
	heard := func(d *drive) (b []byte) {
		for _, w := range d.words {
			if w.who == clientHeard {
				b = append(b, w.octets...)
			}
		}
		return b
	}
	// Which replies bear enhanced codes depends on when that to EHLO came.
	codes := regexp.MustCompile(`(?m)^(\d\d\d) \d\.\d\.\d (` + regexp.QuoteMeta(proxyName) + ` )`)
	seeds(2_000, func(seed uint64) {
		if bad > 2 {
			return
		}
		var first *drive
		for order := range uint64(4) {
			d := newDrive(seed, order/2, true)
			d.words = []word{}
			if problem := d.run(); problem != "" {
				bad++
				t.Errorf("order %d: %s\n%s", order, problem, d.describe())
				return
			}
			switch {
			case first == nil:
				first = d
			case order == 1 && !reflect.DeepEqual(d.words, first.words):
				bad++
				t.Errorf("the same order, and another end:\n%s\n%s", first.describe(), d.describe())
			case !bytes.Equal(codes.ReplaceAll(heard(d), []byte("$1 $2")), codes.ReplaceAll(heard(first), []byte("$1 $2"))),
				!slices.Equal(d.server.did, first.server.did):
				bad++
				t.Errorf("another order, and something else is heard:\n%s\n%s", first.describe(), d.describe())
			}
		}
	})
}

// FuzzOrders drives sessions of all kinds, with TLS at any time: what is fuzzed is which
// session it is, and in which order its events come.
func FuzzOrders(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed, seed*7)
	}
	f.Fuzz(func(t *testing.T, seed, order uint64) {
		d := newDrive(seed, order, false)
		if problem := d.run(); problem != "" {
			t.Errorf("%s\n%s", problem, d.describe())
		}
	})
}
