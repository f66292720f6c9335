// The probe of the routes that TPROXY needs.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

func probeRoutes(ctx context.Context, p *patient) []result {
	const id = "firewall-routes"
	switch {
	case runtime.GOOS != "linux":
		return []result{skip(id, "there is no TPROXY on this system")}
	case !p.Mode.Transparent() && p.Mode != imsg.ModeGetsockname:
		return []result{skip(id, "mode %s needs none", p.Mode)}
	}
	f, none := p.readFirewall(ctx)
	if none != "" {
		return []result{skip(id, "%s", none)}
	}
	return []result{p.judgeRoutes(ctx, id, f)}
}

func (p *patient) judgeRoutes(ctx context.Context, id string, f firewall) result {
	var facts []string
	for _, six := range []bool{false, true} {
		for _, h := range f.hits("prerouting", packet{six: six, port: mailPort, incoming: true}) {
			if !h.tproxy || !p.leads(h.fwRule, mailPort) {
				continue
			}
			option, name := "-4", "IPv4"
			if six {
				option, name = "-6", "IPv6"
			}
			if h.mark == 0 {
				return warn(id, "have it set a mark, as the rules that smtp-gatectl rules nft prints do", "%s sets no mark to route by", h.shown)
			}
			table, err := p.routedBy(ctx, option, h.mark, false)
			switch no := missingProgram(""); {
			case errors.As(err, &no):
				return skip(id, "there is no %s (package %s)", string(no), packages[string(no)])
			case err != nil:
				return red(id, "run the script that smtp-gatectl rules routes prints, with start, at each boot", "%s, mark %#x: %v", name, h.mark, err)
			}
			facts = append(facts, fmt.Sprintf("%s: mark %#x by table %s", name, h.mark, table))
			break
		}
	}
	if facts == nil {
		return skip(id, "there is no rule with TPROXY: see firewall-redirect")
	}
	return green(id, "%s", strings.Join(facts, ", "))
}

// policyRule is one of ip rule, as far as it matters here.
type policyRule struct {
	FwMark, FwMask, Table, Iif string
	Not                        json.RawMessage
}

// is tells whether a rule is for what has a mark.
func (r *policyRule) is(mark uint32) bool {
	word, inline, _ := strings.Cut(r.FwMark, "/")
	n, err := strconv.ParseUint(word, 0, 32)
	mask := uint64(^uint32(0))
	if m, merr := strconv.ParseUint(r.FwMask+inline, 0, 32); merr == nil {
		mask = m
	}
	return err == nil && r.Not == nil && uint64(mark)&mask == n
}

// errNoPolicy is that nothing routes by a mark.
var errNoPolicy = errors.New("no rule of policy routing (ip rule) is for it")

// notLocal is a table that a mark leads to, and that does not lead to this machine.
type notLocal string

func (n notLocal) Error() string {
	return fmt.Sprintf("table %s has no route local default dev lo", string(n))
}

// routedBy looks for the rule and the route that bring packets with a mark to this machine;
// those that we make ourselves come from lo.
func (p *patient) routedBy(ctx context.Context, option string, mark uint32, ours bool) (table string, err error) {
	text, err := p.run(ctx, "ip", option, "-j", "rule")
	if err != nil {
		return "", err
	}
	var rules []policyRule
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return "", fmt.Errorf("what ip prints: %w", err)
	}
	for _, r := range rules {
		if !r.is(mark) || r.Iif != "" && (r.Iif == "lo") != ours {
			continue
		}
		text, err := p.run(ctx, "ip", option, "-j", "route", "show", "table", r.Table)
		var routes []struct{ Type, Dst, Dev string }
		if err == nil {
			err = json.Unmarshal([]byte(text), &routes)
		}
		if err != nil {
			return "", fmt.Errorf("table %s: %w", r.Table, err)
		}
		if len(routes) > 0 && routes[0].Type == "local" && routes[0].Dst == "default" {
			return r.Table, nil
		}
		return "", notLocal(r.Table)
	}
	return "", errNoPolicy
}

// broughtHere tells by which table our own packets with a mark come back; empty, they go
// out.
func (p *patient) broughtHere(ctx context.Context, six bool, mark uint32) (table string, err error) {
	if runtime.GOOS != "linux" {
		return "", nil
	}
	option := "-4"
	if six {
		option = "-6"
	}
	table, err = p.routedBy(ctx, option, mark, true)
	elsewhere, missing := notLocal(""), missingProgram("")
	if errors.Is(err, errNoPolicy) || errors.As(err, &elsewhere) || six && err != nil && !errors.As(err, &missing) { // no IPv6 here
		return "", nil
	}
	return table, err
}
