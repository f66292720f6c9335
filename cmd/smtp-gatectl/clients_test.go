package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest/family"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// TestSeveralClients: one that fails is said by name and keeps nobody from what was asked.
func TestSeveralClients(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) {
		refuse := func(name string) {
			if name == "192.0.2.2" {
				family.Answer(r, &imsg.Done{Errno: imsg.Invalid, Detail: "no client"})
			} else {
				family.Answer(r, &imsg.Done{})
			}
		}
		switch m := r.Message.(type) {
		case *imsg.Lock:
			refuse(m.Name)
		case *imsg.Unlock:
			refuse(m.Name)
		case *imsg.RateSetQuota:
			if len(m.Quotas) != 2 {
				t.Errorf("%+v", m)
			}
			refuse(m.Client)
		case *imsg.RateReset:
			refuse(m.Client)
		case *imsg.RateShow:
			if m.Client == "192.0.2.2" {
				family.Answer(r, &imsg.RateRecord{NoClient: "no client"})
			} else {
				family.Answer(r, &imsg.RateRecord{Entry: rateEntry(strings.Replace(m.Client, "/64", "", 1), 64)})
			}
		}
	})
	for args, says := range map[string]string{
		"lock add":    "192.0.2.1 locked\n2001:db8::/64-a=b locked\n",
		"lock remove": "192.0.2.1 unlocked\n2001:db8::/64-a=b unlocked\n",
		"rate set":    "192.0.2.1 has quotas of its own\n2001:db8::/64-a=b has quotas of its own\n",
		"rate reset":  "192.0.2.1 forgotten\n2001:db8::/64-a=b forgotten\n",
		"rate show":   "client  192.0.2.1\n",
	} {
		words := append(strings.Fields(args), "192.0.2.1", "192.0.2.2", "2001:db8::/64-a=b", "--socket", socket)
		if args == "rate set" {
			words = append(words, "bytes=1", "messages=2")
		}
		code, out, errs := gatectl(words...)
		if code != exitFailed || errs != "smtp-gatectl: 192.0.2.2: no client\n" || !strings.Contains(out, says) {
			t.Errorf("%s: exit %d: %s%s", args, code, errs, out)
		}
		// For machines each is an object on a line of its own.
		_, objects, _ := gatectl(append(words, "--json")...)
		if got := strings.SplitAfter(objects, "\n"); len(got) != 3 || !json.Valid([]byte(got[0])) || !json.Valid([]byte(got[1])) || got[2] != "" {
			t.Errorf("%s: %s", args, objects)
		}
		if args == "rate show" && !strings.Contains(out, "\n\nclient  2001:db8::/64-a=b\n") {
			t.Errorf("%s", out)
		}
	}
	// Where nothing has begun nothing is done.
	if code, out, _ := gatectl("lock", "add", "192.0.2.1", "nobody", "--socket", socket); code != exitUsage || out != "" {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestSeveralAndNoDaemon ends with the daemon.
func TestSeveralAndNoDaemon(t *testing.T) {
	socket := lockdAt(t, func(r link.Request) { r.From().Close() })
	code, _, errs := gatectl("lock", "add", "192.0.2.1", "192.0.2.2", "--socket", socket)
	if code != exitFailed || !strings.Contains(errs, "192.0.2.1: the daemon hung up") || strings.Contains(errs, "192.0.2.2") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
