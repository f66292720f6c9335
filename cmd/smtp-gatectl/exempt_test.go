package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// exemptPages are what a lockd answers that has two of them.
func exemptPages(t *testing.T) string {
	now := time.Now().UnixNano()
	pages := map[string]*imsg.ExemptionList{
		"":             {Exemptions: []imsg.Exemption{{Who: "192.0.2.0/24", From: imsg.UsualExempts, Since: now, Until: now + hour + hour/60, Reason: "a partner"}}, More: true},
		"192.0.2.0/24": {Exemptions: []imsg.Exemption{{Who: "server=192.0.2.25", From: 1 << imsg.ExemptSpam, Since: now}}},
	}
	return lockdAt(t, func(r link.Request) { family.Answer(r, pages[r.Message.(*imsg.Exemptions).After]) })
}

func TestExemptList(t *testing.T) {
	socket := exemptPages(t)
	code, out, errs := gatectl("exempt", "list", "--socket", socket)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for i, want := range []string{"WHO ", "192.0.2.0/24       lock,limit,rate,dnsbl,earlytalk  ", "server=192.0.2.25  spam  "} {
		if line := strings.Split(out, "\n")[i]; !strings.HasPrefix(line, want) {
			t.Errorf("no %q in line %q", want, line)
		}
	}
	_, out, _ = gatectl("exempt", "list", "--json", "--socket", socket)
	var all []exemption
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 2 || all[0].Until.IsZero() || !all[1].Until.IsZero() || all[1].From[0] != "spam" {
		t.Errorf("%v: %s", err, out)
	}
	if _, out, _ := gatectl("__complete", "exempt", "remove", "--socket", socket, ""); !strings.HasPrefix(out, "192.0.2.0/24\nserver=192.0.2.25\n") {
		t.Errorf("completed: %s", out)
	}
	if _, out, _ := gatectl("__complete", "exempt", "add", "--from", ""); !strings.HasPrefix(out, "lock\nlimit\n") {
		t.Errorf("completed: %s", out)
	}
	// A list that goes round has an end.
	socket = lockdAt(t, func(r link.Request) {
		family.Answer(r, &imsg.ExemptionList{Exemptions: []imsg.Exemption{{Who: "192.0.2.1", From: 1}}, More: true})
	})
	if code, _, errs := gatectl("exempt", "list", "--socket", socket); code != exitFailed || !strings.Contains(errs, "came behind") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestExplainExempt: who asks about a client hears what it is exempt from, and a lock that
// is not looked at is told as what it is.
func TestExplainExempt(t *testing.T) {
	answer := &imsg.Explanation{Locked: true, Lock: imsg.LockEntry{Name: "192.0.2.7", Cause: "VIRUS"}, Exempt: []imsg.Exemption{
		{Who: "192.0.2.0/24", From: 1 << imsg.ExemptLock, Reason: "a partner"},
		{Who: "192.0.2.7", From: 1 << imsg.ExemptSpam, Until: hour},
	}}
	socket := lockdAt(t, func(r link.Request) { family.Answer(r, answer) })
	_, out, _ := gatectl("explain", "192.0.2.7", "--socket", socket)
	for _, want := range []string{
		"\n192.0.2.7 were it not exempt, would be locked out for ever: VIRUS.\n",
		"\n192.0.2.0/24 is exempt from lock for ever: a partner.\nsmtp-gatectl exempt remove 192.0.2.0/24 ends that.\n",
		"\n192.0.2.7 is exempt from spam until 1970-01-01 ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, out, _ = gatectl("explain", "192.0.2.7", "--json", "--socket", socket)
	var e explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || len(e.Exempt) != 2 {
		t.Errorf("%v: %s", err, out)
	}
}
