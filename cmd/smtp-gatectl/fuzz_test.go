//go:build linux

package main

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/impostor"
)

// FuzzAnswers: whatever a lockd that has been taken over answers to whatever command, it
// ends, and what the operator's terminal or program hears is printable lines.
func FuzzAnswers(f *testing.F) {
	commands := []string{
		"status", "sessions", "lock list", "rate list", "rate show 192.0.2.7", "lock add 192.0.2.7", "lock remove 192.0.2.7",
		"rate set 192.0.2.7 messages=1", "rate reset 192.0.2.7", "reload", "stop", "lock export nft:inet/a/b,c",
		"exempt list", "exempt add 192.0.2.7",
	}
	entry := imsg.RateEntry{Client: hostile, Quotas: []uint64{1, 2, 3, 4, 5, 6, 7}, Used: []uint64{1, 2, 3, 4, 5, 6, 7}, Tries: []uint64{1, 2, 3, 4, 5, 6, 7}}
	answers := map[string]imsg.Message{
		"status": &imsg.StatusReport{Family: imsg.Family{Version: hostile, Lacks: []string{"no <layer>"}, Rooms: []imsg.Member{{Room: imsg.Session, State: 1}}}, Counters: []uint64{1, 2}},
		"sessions": &imsg.SessionList{Sessions: []imsg.LiveSession{{
			Number: 1, Client: netip.MustParseAddrPort("[fe80::1%}~]:1"), Ident: "<x>",
		}}, More: true},
		"lock list":                  &imsg.LockList{Locks: []imsg.LockEntry{{Name: "x", Cause: "a <b>"}}, More: true},
		"lock export nft:inet/a/b,c": &imsg.LockList{Locks: []imsg.LockEntry{{Name: "2001:db8::", Bits: 32, Expires: math.MaxInt64}}},
		"rate list":                  &imsg.RateList{Period: 1, Records: []imsg.RateEntry{entry}},
		"rate show":                  &imsg.RateRecord{Entry: entry, Targets: []imsg.RateTarget{{Address: netip.MustParseAddr("192.0.2.1")}}},
		"":                           &imsg.Done{Errno: imsg.Denied, Detail: hostile + "\n" + hostile},
		"exempt list":                &imsg.ExemptionList{Exemptions: []imsg.Exemption{{Who: "x", From: 1, Reason: "a <b>"}}, More: true},
	}
	for i, command := range commands {
		for _, m := range []imsg.Message{answers[command], answers[strings.TrimSuffix(command, " 192.0.2.7")], answers[""], &imsg.Failure{Errno: imsg.Busy}} {
			if m == nil {
				continue
			}
			var b bytes.Buffer
			e := msgpack.NewEncoder(&b)
			e.UseArrayEncodedStructs(true)
			e.UseCompactInts(true)
			if err := e.Encode(m); err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), false, uint16(imsg.Row(m).Type), b.Bytes())
			f.Add(uint8(i), true, uint16(imsg.Row(m).Type), b.Bytes())
		}
	}
	var answer atomic.Pointer[impostor.Body]
	socket := impostor.Lockd(f, &answer)
	f.Fuzz(func(t *testing.T, which uint8, json bool, typ uint16, body []byte) {
		answer.Store(&impostor.Body{Type: imsg.Type(typ), Octets: body})
		command := commands[int(which)%len(commands)]
		_, out, errs := gatectl(append(slices.Clone(strings.Fields(command)), "--socket", socket, "--json="+strconv.FormatBool(json))...)
		if out+errs == "" {
			t.Errorf("%s: nothing", command)
		}
		for line := range strings.SplitSeq(out+errs, "\n") {
			if line != clean(line) {
				t.Errorf("%s: %q", command, line)
			}
		}
	})
}
