// Probes of the engines, by mails of which it is known what they must find. The mails take
// the way of any other through the family, by its command scan.

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// engineSaid is what an engine found in a mail.
type engineSaid struct {
	engine string // its word in the configuration; empty: what is said is of all with the roles
	roles  imsg.Roles
	virus  string // its name, empty: none
	score  float64
	took   time.Duration
	err    string // why it said nothing

	skipped string // why no engine was asked: load, size or another word
}

// scanLimit is how long a scan may take behind one of each other probe's.
func scanLimit(p *patient) time.Duration { return 4*p.slow() + probeTime }

// sayOf returns what the engines say of a mail; they are asked once.
func (p *patient) sayOf(ctx context.Context, mail string) ([]engineSaid, error) {
	type answer struct {
		said []engineSaid
		err  error
	}
	once, _ := p.mails.LoadOrStore(mail, sync.OnceValue(func() answer {
		said, err := p.scan(ctx, strings.NewReader(mail))
		return answer{said, err}
	}))
	a := once.(func() answer)()
	return a.said, a.err
}

// eachEngine judges what each engine with a role has said of a mail.
func (p *patient) eachEngine(ctx context.Context, id string, roles imsg.Roles, mail string, judge func(id string, e engineSaid) result) (all []result) {
	plain := objectless.ReplaceAllString(id, "")
	engines := slices.DeleteFunc(p.Scand(func(path string) string { return path }).Engines, func(e imsg.EngineConfig) bool { return e.Roles&roles == 0 })
	switch {
	case len(engines) == 0:
		return []result{skip(plain, "no %s scanner is configured", roles)}
	case p.control == nil && p.failed == nil:
		return []result{skip(plain, "%s", p.noFamily)}
	case p.control == nil:
		return []result{skip(plain, "%s: see daemon", p.noFamily)}
	}
	var said []engineSaid
	var err error
	if slices.ContainsFunc(engines, func(e imsg.EngineConfig) bool { return unnamed(e) == "" && p.takes(roles&e.Roles, mail) }) {
		said, err = p.sayOf(ctx, mail)
	}
	for _, e := range engines {
		roles := roles & e.Roles // one engine may be there for each
		id := idOf(id, e.Engine.String())
		of := func(name string) int {
			return slices.IndexFunc(said, func(s engineSaid) bool { return s.engine == name && s.roles&roles != 0 })
		}
		i := of(e.Engine.String())
		if i < 0 {
			i = of("")
		}
		switch {
		case unnamed(e) != "":
			all = append(all, skip(id, "%s", unnamed(e)))
		case !p.takes(roles, mail), i >= 0 && said[i].skipped == "size":
			all = append(all, warn(id, "let "+p.sizeOption(roles)+" be more than a mail has", "mails of %d octets are too large to be looked at", len(mail)))
		case errors.Is(err, imsg.ReadOnly):
			all = append(all, skip(id, "only who may use the control socket can have a mail scanned"))
		case err != nil:
			all = append(all, red(id, "see daemon, and the log", "no mail can be scanned: %v", err))
		case i >= 0 && said[i].skipped == "load":
			all = append(all, skip(id, "the machine is too busy for it, by %s: try again", p.Called("spam_max_load")))
		case i >= 0 && said[i].skipped != "":
			all = append(all, skip(id, "it is not asked: %s", said[i].skipped))
		case i < 0:
			all = append(all, red(id, "reload the daemon, if the file has changed since", "the daemon has not asked it"))
		case said[i].err != "":
			all = append(all, red(id, fmt.Sprintf("see that %s runs%s and may be reached (room-scand), and what it logs", e.Engine, starts(e.Engine)), "no answer: %s", said[i].err))
		default:
			all = append(all, judge(id, said[i]))
		}
	}
	return slices.CompactFunc(all, func(a, b result) bool { return a.ID == b.ID && a.State == b.State })
}

// starts says how an engine is started, where it is known that nobody else may have done so:
// Debian's clamd does not start before there are signatures, nor when freshclam has got some.
func starts(e imsg.Engine) string {
	if e != imsg.EngineClamd {
		return ""
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return ""
	}
	return " (systemctl start clamav-daemon: on Debian nothing does that when freshclam has got the first signatures)"
}

// unnamed tells why an engine cannot be shown a mail of ours; empty, it can.
func unnamed(e imsg.EngineConfig) string {
	if e.Engine == imsg.EngineMksd || e.Method == imsg.MethodScan {
		return "it opens files by their names, and a mail of doctor's has none"
	}
	return ""
}

// takes tells whether an engine looks at mails of such a size in one of the roles.
func (p *patient) takes(roles imsg.Roles, mail string) bool {
	size := int64(len(mail))
	return roles&imsg.RoleVirus != 0 && size <= p.ScanMaxSize || roles&imsg.RoleSpam != 0 && size <= p.SpamMaxSize
}

// sizeOption is what bounds the mails that a role's engine looks at.
func (p *patient) sizeOption(role imsg.Roles) string {
	if role&imsg.RoleVirus != 0 {
		return p.Called("scan_max_size")
	}
	return p.Called("spam_max_size")
}

func probeEicar(ctx context.Context, p *patient) []result {
	return p.eachEngine(ctx, "engine-ENGINE-eicar", imsg.RoleVirus, eicarMail(), func(id string, e engineSaid) result {
		if e.virus == "" {
			return red(id, "see that it has its signatures (freshclam for clamd), and that {scan_max_size} lets mail through to it", "did not find the test virus, in %s", brief(e.took.Seconds()))
		}
		if e.engine == imsg.EngineBuiltin.String() {
			return warn(id, "write {antivirus_type} clamd", "found %s: it knows that test file, and no virus", e.virus)
		}
		return green(id, "found %s in %s", e.virus, brief(e.took.Seconds()))
	})
}

func probeGtube(ctx context.Context, p *patient) []result {
	return p.eachEngine(ctx, "engine-ENGINE-gtube", imsg.RoleSpam, gtubeMail(), func(id string, e engineSaid) result {
		took := brief(e.took.Seconds())
		switch {
		case e.score < p.SpamThreshold:
			return red(id, "see that it has its rules, and that {spam_threshold} is one it can reach", "gave the test spam %.1f, below the threshold %.1f, in %s", e.score, p.SpamThreshold, took)
		case e.engine == imsg.EngineBuiltin.String():
			return warn(id, "write {antispam_type} spamassassin", "gave the test spam %.1f: it knows that test message, and no spam", e.score)
		case !p.SpamRefuse:
			return warn(id, "write {antispam_refuse} {yes} to have spam refused", "gave the test spam %.1f in %s; spam is let through", e.score, took)
		}
		return green(id, "gave the test spam %.1f, where %.1f is spam, in %s", e.score, p.SpamThreshold, took)
	})
}

func probeClean(ctx context.Context, p *patient) []result {
	return p.eachEngine(ctx, "engine-ENGINE-clean", imsg.RoleVirus|imsg.RoleSpam, cleanMail(), func(id string, e engineSaid) result {
		took := brief(e.took.Seconds())
		switch {
		case e.virus != "":
			return red(id, "see which of its signatures finds that, and take it out", "found %s in a clean mail", e.virus)
		case e.roles&imsg.RoleSpam != 0 && e.score >= p.SpamThreshold:
			return red(id, "see which of its rules say so; {spam_threshold} may be too low", "takes a clean mail for spam: %.1f of %.1f", e.score, p.SpamThreshold)
		}
		return green(id, "found nothing in %s", took)
	})
}
