// Probes of the server of the fixed modes.

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/site"
	"github.com/smtp-gated/smtp-gated/parent/socket"
	"github.com/smtp-gated/smtp-gated/session/proxyheader"
)

func talkLimit(*patient) time.Duration { return talkTime + probeTime }

// conversation is a talk with a server, and what else was seen meanwhile.
type conversation struct {
	talk
	server    netip.AddrPort
	ourselves bool   // our own connection is among the daemon's sessions
	skipped   string // why there was none
	err       error
}

// serversSaid talks to the servers, once, and to all of them at a time.
func (p *patient) serversSaid(ctx context.Context) []*conversation {
	p.talking.Do(func() {
		servers := p.MailServers()
		p.talked = make([]*conversation, len(servers))
		var all sync.WaitGroup
		for i, server := range servers {
			all.Go(func() { p.talked[i] = p.callServer(ctx, server) })
		}
		all.Wait()
	})
	return p.talked
}

func (p *patient) callServer(ctx context.Context, server netip.AddrPort) *conversation {
	c := &conversation{server: server}
	s := p.site()
	i := slices.IndexFunc(s.Rooms, func(r site.Room) bool { return r.Root == site.Spool })
	v, err := p.view(s.Rooms[i])
	if err != nil {
		c.skipped = "the rooms for sessions have no user: see users"
		return c
	}
	if why := p.become(v); why != "" {
		v.Spec.Identity.UID, v.Spec.Identity.GID, v.Spec.Identity.Groups = -1, -1, nil
	}
	// It needs no file, and its own folder may not be there yet.
	v.Spec.RootDir, v.Spec.Chroot = "/", false
	call := &call{To: server, Name: p.name()}
	if p.Mode == imsg.ModeFixedProxy { // we call for ourselves
		call.Said = proxyheader.AppendLocal(nil)
	}
	for _, a := range p.SessionConfig.Outgoing {
		if !a.IsUnspecified() && a.Is6() == call.To.Addr().Is6() {
			call.From = a
		}
	}
	var made *os.File
	if out := (socket.Outgoing{Mode: p.Mode, Mark: p.SoMark}); out.Needed() {
		if made, err = out.Make(call.To.Addr().Is6()); err != nil {
			if !p.root {
				c.skipped = "only root can mark a socket as the daemon does"
			}
			c.err = err
			return c
		}
		defer made.Close()
		call.Made = true
	}
	child, err := standAt(ctx, v, made)
	if err != nil {
		c.err = err
		return c
	}
	defer child.dismiss()
	t, err := child.try(attempt{Kind: toTalk, Talk: call})
	if err == nil && t.Talk != nil {
		c.ourselves = p.seesUs(t.Talk.Local)
		t, err = child.try(attempt{}) // go on
	}
	if t.Talk != nil {
		c.talk = *t.Talk
	}
	c.err = err
	return c
}

// seesUs tells whether the daemon has a session with a client of this address.
func (p *patient) seesUs(local netip.AddrPort) bool {
	if p.control == nil || !local.IsValid() {
		return false
	}
	var after uint64
	for range 64 { // pages
		list, err := ask(p.control, &imsg.Sessions{After: after}, time.Second)
		if err != nil {
			return false
		}
		for _, s := range list.Sessions {
			if netip.AddrPortFrom(s.Client.Addr().Unmap(), s.Client.Port()) == netip.AddrPortFrom(local.Addr().Unmap(), local.Port()) {
				return true
			}
			after = s.Number
		}
		if !list.More {
			break
		}
	}
	return false
}

// name is what we call ourselves.
func (p *patient) name() string {
	name := p.ProxyName
	if name == "*" {
		name, _ = os.Hostname()
	}
	if name == "" {
		name = "localhost"
	}
	return name
}

// eachServer judges the talk with each server; where there are several, each has an id of
// its own.
func (p *patient) eachServer(ctx context.Context, id string, judge func(c *conversation, id string) result) (all []result) {
	if !p.Mode.Fixed() {
		return []result{skip(id, "mode %s: each client has its own server", p.Mode)}
	}
	talks := p.serversSaid(ctx)
	for _, c := range talks {
		id := id
		if len(talks) > 1 {
			id += "-" + c.server.String()
		}
		switch {
		case c.skipped != "":
			all = append(all, skip(id, "%s", c.skipped))
		case c.err != nil:
			all = append(all, red(id, "see whether smtp-gatectl may start programs and make sockets", "%v", c.err))
		default:
			all = append(all, judge(c, id))
		}
	}
	return all
}

func probeGreeting(ctx context.Context, p *patient) []result {
	return p.eachServer(ctx, "server-greeting", p.judgeGreeting)
}

func (p *patient) judgeGreeting(c *conversation, id string) result {
	switch {
	case len(c.Greeting) == 0 || c.Problem != "" && c.EHLO == nil && !positive(c.Greeting):
		return red(id, fmt.Sprintf("see that a mail server listens at %s, and that no firewall is between", c.server), "%s: %s", c.server, c.Problem)
	case !positive(c.Greeting):
		return red(id, "see in its log why it refuses this machine, and let it in", "%s refuses: %s", c.server, last(c.Greeting))
	}
	return green(id, "%s: %s", c.server, last(c.Greeting))
}

func last(lines []string) string { return lines[len(lines)-1] }

func probeEHLO(ctx context.Context, p *patient) []result {
	return p.eachServer(ctx, "server-ehlo", p.judgeEHLO)
}

func (p *patient) judgeEHLO(c *conversation, id string) result {
	switch {
	case !positive(c.Greeting):
		return skip(id, "there is no greeting")
	case !positive(c.EHLO) && len(c.EHLO) > 0 && p.Mode == imsg.ModeFixedProxy:
		return red(id, "let it take the header of the PROXY protocol, as Postfix does by smtpd_upstream_proxy_protocol = haproxy, or see in its log why it refuses EHLO of "+p.name(), "refused: %s", last(c.EHLO))
	case !positive(c.EHLO) && len(c.EHLO) > 0:
		return red(id, "see in its log why it refuses EHLO of "+p.name(), "refused: %s", last(c.EHLO))
	case len(c.EHLO) == 0:
		return red(id, "see that it is a mail server", "no answer to EHLO: %s", c.Problem)
	}
	var has, lacks []string
	for _, name := range []string{"STARTTLS", "SIZE", "PIPELINING", "XCLIENT"} {
		if offers(c.EHLO, name) {
			has = append(has, name)
		} else {
			lacks = append(lacks, name)
		}
	}
	if p.Mode == imsg.ModeFixedXclient && slices.Contains(lacks, "XCLIENT") {
		return red(id, "let this machine use it, as by smtpd_authorized_xclient_hosts of Postfix, or use mode fixed", "does not offer XCLIENT, which mode %s needs", p.Mode)
	}
	if p.Mode == imsg.ModeFixed && slices.Contains(has, "XCLIENT") {
		return warn(id, "use mode fixed+xclient, or take this machine out of what the server believes, as smtpd_authorized_xclient_hosts of Postfix",
			"offers XCLIENT to this machine, and in mode %s to each client of ours, who may call itself what it likes", p.Mode)
	}
	if p.EndsTLS() && p.TLS.Upstream == imsg.TLSAlways && p.TLS.Port == 0 && slices.Contains(lacks, "STARTTLS") {
		return red(id, "give the server a certificate, or write {tls_upstream} in another way", "does not offer STARTTLS, which %s needs", p.Called("tls_upstream"))
	}
	if len(has) == 0 {
		has = []string{"no extension that we know of"}
	}
	return green(id, "offers %s", strings.Join(has, ", "))
}

func probeLoop(ctx context.Context, p *patient) []result {
	return p.eachServer(ctx, "server-loop", p.judgeLoop)
}

func (p *patient) judgeLoop(c *conversation, id string) result {
	option := p.MailServerOption()
	remedy := "let {" + option + "} name the mail server, and no rule of the firewall lead our own connections to us (firewall-own)"
	for _, w := range p.met(option) {
		if strings.HasPrefix(w.Text, c.server.Addr().String()+" ") {
			return red(id, remedy, "%s", w.Text)
		}
	}
	switch {
	case c.ourselves:
		return red(id, remedy, "a connection to %s came to this daemon as a session", c.server)
	case len(c.Greeting) > 0 && !positive(c.Greeting) && slices.ContainsFunc(c.Greeting, p.ours):
		return red(id, remedy, "%s refuses in our own words: %s", c.server, last(c.Greeting))
	case len(c.Greeting) == 0:
		return skip(id, "there is no greeting")
	case p.control == nil:
		return green(id, "does not answer in our words")
	}
	return green(id, "a connection to it did not come to this daemon")
}

// ours tells whether a line is one of our refusals: those have our name, which may be the
// server's as well, and one of our texts.
func (p *patient) ours(line string) bool {
	if len(line) < 4 {
		return false
	}
	text, named := strings.CutPrefix(line[4:], p.name()+" ")
	return named && slices.ContainsFunc(p.Texts[:], func(ours string) bool { return ours != "" && strings.HasPrefix(text, ours) })
}
