// How the gateway is. This file owns what of the room's own comes to a finding, and who
// hears of a finding: the log, the events, the service manager. What is a finding, and
// what all of them come to, is a matter of lockd/findings.

package lockd

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/logs"
	"github.com/smtp-gated/smtp-gated/lockd/findings"
)

// quiet is set by the linker for tests: a duration other than findings.Quiet.
var quiet string

func newBoard() *findings.Board {
	if d, err := time.ParseDuration(quiet); err == nil {
		return findings.New(d)
	}
	return findings.New(findings.Quiet)
}

// observe notes that something of the room's own went well, or why not. problem is empty
// if it did. It may be called with or without the room's lock.
func (srv *server) observe(f imsg.FindingID, object, problem string) {
	now := srv.env.now()
	o := &imsg.Observation{Finding: f, Object: object, Text: imsg.Printable(problem, 200)}
	if problem == "" {
		o.Good, o.Went = 1, now.UnixNano()
	} else {
		o.Bad, o.Row, o.Failed = 1, 1, now.UnixNano()
	}
	srv.announceFindings(srv.board.Note(o, now))
}

// observed takes what a worker has seen, as far as it is a worker's to see and about
// something that the configuration knows; mu is held.
func (srv *server) observed(m *imsg.Observed) {
	now := srv.env.now()
	for i := range m.Observations {
		o := &m.Observations[i]
		if !imsg.FindingTable[o.Finding].From.Has(imsg.Session) {
			continue
		}
		if o.Bad == 0 && o.Object == "" || findings.Concerns(o.Finding, o.Object, &srv.config) {
			srv.announceFindings(srv.board.Note(o, now))
		}
	}
}

// hearTroubles takes what the parent has seen; mu is held.
func (srv *server) hearTroubles() {
	for i := range srv.family.Troubles {
		srv.announceFindings(srv.board.Tell(&srv.family.Troubles[i], srv.env.now()))
	}
}

// watchCondition looks each second at what has changed, until end is closed.
func (srv *server) watchCondition(end <-chan struct{}) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-end:
			return
		case <-second.C:
			srv.reviewCondition()
		}
	}
}

// reviewCondition sees to it that findings end, and that the parent knows how we are.
func (srv *server) reviewCondition() {
	srv.mu.Lock()
	config := srv.config
	live, load := srv.live.sessions.Len(), srv.load
	leaving := srv.leaving
	srv.mu.Unlock()
	if leaving {
		return // another speaks
	}
	if live < config.MaxConnections {
		srv.observe(imsg.FindingLimit, imsg.ObjectMaxConnections, "")
	}
	if load <= config.MaxLoad {
		srv.observe(imsg.FindingLimit, imsg.ObjectMaxLoad, "")
	}
	srv.reviewMonitor(&config)
	names := srv.reviewCertificates()
	srv.announceFindings(srv.board.Sweep(srv.env.now(), func(f imsg.FindingID, object string) bool {
		return findings.Concerns(f, object, &config) && (f != imsg.FindingCertificate || names[object])
	}))
	health, all := findings.Judge(srv.board.List(), &config)
	c := imsg.Condition{Health: health}
	if len(all) > 0 {
		c.Worst = imsg.Printable(name(&all[0]), 200)
	}
	if c == srv.condition {
		return
	}
	if srv.parent.Send(&c) == nil {
		srv.condition = c
	}
}

// reviewMonitor sees to it that viruses are not let through for good because somebody once
// tried a rule.
func (srv *server) reviewMonitor(config *imsg.LockdConfig) {
	if !config.Monitored.Has(imsg.RuleVirus) {
		srv.looksOn = 0
		return
	}
	now := srv.env.now()
	if srv.looksOn == 0 {
		srv.looksOn = now.UnixNano()
	}
	srv.announceFindings(srv.board.Tell(&imsg.Trouble{
		Finding: imsg.FindingUnscanned, Object: imsg.UnscannedMonitor, Since: srv.looksOn, Last: now.UnixNano(), Count: 1,
		Text: "viruses are let through while policy.monitor has virus",
	}, now))
}

// announceFindings tells of findings that have begun or ended. No log_level keeps that
// back.
func (srv *server) announceFindings(all []findings.Change) {
	for i := range all {
		c := &all[i]
		level, text := slog.LevelWarn, "FINDING:BEGIN "
		if c.Ended {
			level, text = logs.LevelNotice, "FINDING:END "
		}
		about := []any{"since", time.Unix(0, c.Since), "count", c.Count, "problem", c.Text}
		if c.Object != "" {
			about = append([]any{"object", c.Object}, about...)
		}
		srv.log.Log(context.Background(), logs.LevelAlways+level, text+c.Finding.String(), about...)
		detail := "begins: "
		if c.Ended {
			detail = "ends: "
		}
		srv.happened(imsg.Event{
			Time: srv.env.now().UnixNano(), Kind: imsg.EventFinding,
			Detail: imsg.Printable(detail+name(&c.StatusFinding), 255), Text: c.Text, Count: c.Count,
		})
	}
}

// name is what a finding is called, with its object.
func name(f *imsg.StatusFinding) string {
	return strings.TrimSpace(f.Finding.String() + " " + f.Object)
}
