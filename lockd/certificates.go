// The certificates that clients are shown, as the rooms that have them tell. This file owns
// when one of them is a finding.

package lockd

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
)

// certificates are those of the configuration in force, as was told last: a room that has
// ended is replaced, and its certificates are what they were.
type certificates struct {
	all   []imsg.CertificateStatus
	since map[string]int64 // a name is in trouble
}

func newCertificates() certificates { return certificates{since: make(map[string]int64)} }

// attachKeys takes up a room that has certificates.
func (srv *server) attachKeys(r link.Request, m *imsg.Peer) error {
	conn, err := srv.parent.Accept(r, m, func(r link.Request) {
		defer r.Close()
		if m, ok := r.Message.(*imsg.Certificates); ok {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			if m.Generation == srv.config.Certificates {
				srv.certificates.all = m.List
			}
		}
	})
	if err != nil {
		return err
	}
	context.AfterFunc(srv.parent.Context(), func() { conn.Close() })
	return nil
}

// trouble says what is wrong with a certificate; empty if nothing is.
func trouble(c *imsg.CertificateStatus, now time.Time) string {
	end := time.Unix(c.End, 0)
	switch left := end.Sub(now); {
	case c.Problem != "":
		return "the one on disk is not taken: " + c.Problem
	case left <= 0:
		return "it has ended at " + end.UTC().Format(time.RFC3339)
	case c.Begin > now.Unix():
		return "it is not valid before " + time.Unix(c.Begin, 0).UTC().Format(time.RFC3339)
	case left < imsg.EndsSoon:
		return fmt.Sprintf("it ends at %s, in %d days", end.UTC().Format(time.RFC3339), left/(24*time.Hour))
	}
	return ""
}

// reviewCertificates has what is wrong with one be a finding, and end when it is well. It
// returns the names there are.
func (srv *server) reviewCertificates() map[string]bool {
	srv.mu.Lock()
	all := srv.certificates.all
	srv.mu.Unlock()
	now := srv.env.now()
	problems := make(map[string]string) // of all certificates for a name
	for i := range all {
		name := all[i].Name
		if problem := trouble(&all[i], now); problems[name] == "" {
			problems[name] = imsg.Printable(problem, 200)
		}
	}
	since, names := srv.certificates.since, make(map[string]bool)
	for name, problem := range problems {
		names[name] = true
		if problem == "" {
			delete(since, name)
			srv.observe(imsg.FindingCertificate, name, "")
			continue
		}
		if since[name] == 0 {
			since[name] = now.UnixNano()
		}
		srv.announceFindings(srv.board.Tell(&imsg.Trouble{
			Finding: imsg.FindingCertificate, Object: name, Since: since[name], Last: now.UnixNano(), Count: 1, Text: problem,
		}, now))
	}
	maps.DeleteFunc(since, func(name string, _ int64) bool { return !names[name] })
	return names
}
