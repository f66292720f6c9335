// Probes of the configuration, of the daemon that runs by it, and of its certificates.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/session/keys/pair"
)

// elsewhereTold are the options that other probes tell of.
var elsewhereTold = []string{
	"set_user", "spool_path", "lock_path", "pidfile", "ratelimit_path", "antivirus_path", "antispam_path", "action_script", "fixed_server", "fixed_servers",
}

func probeConfig(_ context.Context, p *patient) []result {
	const id = "config"
	names, met := p.Config, p.look()
	if p.written != nil {
		names = p.written
		met.warnings, met.err = parent.Site(names, p.rooted).Look()
	}
	if met.err != nil {
		return []result{red(id, "see smtp-gatectl check", "%v", met.err)}
	}
	warnings := slices.Clone(p.warnings)
	for _, w := range met.warnings {
		if !slices.ContainsFunc(elsewhereTold, func(o string) bool { return names.Called(o) == w.Option }) {
			warnings = append(warnings, w)
		}
	}
	switch {
	case len(p.changes) > 0:
		var changed []string
		for _, c := range p.changes {
			changed = append(changed, c.Name)
		}
		text := fmt.Sprintf("the daemon runs by other values than %s has: %s", p.file, strings.Join(changed, ", "))
		if len(warnings) > 0 {
			text += "; of the file there " + map[bool]string{true: "is 1 warning", false: fmt.Sprintf("are %d warnings", len(warnings))}[len(warnings) == 1]
		}
		return []result{warn(id, "see smtp-gatectl config --diff and smtp-gatectl check, and reload the daemon", "%s", text)}
	case len(warnings) == 1:
		return []result{warn(id, "change that", "%s", warnings[0])}
	case len(warnings) > 0:
		return []result{warn(id, "see smtp-gatectl check for all", "%s, as: %s", plural(len(warnings), "warning"), warnings[0])}
	}
	return []result{green(id, "%s is good", p.file)}
}

func probeDaemon(_ context.Context, p *patient) []result {
	const id = "daemon"
	s := p.status
	switch {
	case p.failed != nil && !p.tried:
		return []result{red(id, "see whether it hangs, and its log", "%v", p.failed)}
	case p.failed != nil && p.rooted && len(p.met("set_user")) > 0:
		return []result{skip(id, "a temporary one cannot start: see users")}
	case p.failed != nil:
		return []result{red(id, "see what it says", "a temporary one does not start: %v", p.failed)}
	case p.absent:
		return []result{warn(id, "start it; root can have doctor start a temporary one", "no daemon runs by %s", p.file)}
	case s == nil:
		return []result{skip(id, "%s", p.noFamily)}
	case p.elsewhere != "":
		return []result{warn(id, "name that file, or restart the daemon with this one", "it runs by %s, not by %s", p.elsewhere, p.file)}
	case len(s.Findings) > 0:
		f := &s.Findings[0]
		say := warn
		if s.health == imsg.Down {
			say = red
		}
		text := f.line(s.Now)
		if s.found > 1 {
			text += fmt.Sprintf("; and %d more, see smtp-gatectl status", s.found-1)
		}
		return []result{say(id, f.Remedy, "%s", text)}
	case p.temporary != nil:
		return []result{green(id, "a temporary one has started, with %s", processes(len(s.Rooms)))}
	}
	return []result{green(id, "up %s, %d of %d sessions", span(s.Now.Sub(s.Started)), s.Sessions, s.Limit)}
}

func processes(n int) string { return fmt.Sprintf("%d processes", n) }

func probeCertificates(_ context.Context, p *patient) (all []result) {
	if len(p.TLSCertificates) == 0 {
		return []result{skip("certificate", "none is configured")}
	}
	called := certificateNames(p.TLSCertificates)
	for i, names := range p.TLSCertificates {
		all = append(all, p.probeCertificate(idOf("certificate-FILE", called[i]), names, time.Now()))
	}
	return all
}

// certificateNames tells certificates from each other: by their files, with the folder
// where files are called alike, and by a number where folders are, too.
func certificateNames(all []config.Certificate) (names []string) {
	count := make(map[string]int)
	for _, c := range all {
		count[tame(filepath.Base(c.Chain))]++
	}
	seen := make(map[string]int)
	for _, c := range all {
		name := filepath.Base(c.Chain)
		if count[tame(name)] > 1 {
			name = filepath.Base(filepath.Dir(c.Chain)) + "-" + name
		}
		id := tame(name)
		if seen[id]++; seen[id] > 1 {
			name += fmt.Sprintf("-%d", seen[id])
		}
		names = append(names, name)
	}
	return names
}

func (p *patient) probeCertificate(id string, names config.Certificate, now time.Time) result {
	at := imsg.PairNames{Chain: p.Inside(names.Chain), Key: p.Inside(names.Key)}
	var files []*os.File
	for _, path := range []string{at.Chain, at.Key} {
		f, err := host.OpenRegular(path)
		switch {
		case errors.Is(err, fs.ErrPermission) && !p.root:
			return skip(id, "only root can look: %v", err)
		case err != nil:
			return red(id, "put the file there, or name another", "%v", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	c, err := pair.Read(at, files[0], files[1])
	if bad := (*pair.Error)(nil); errors.As(err, &bad) {
		path := at.Chain
		if bad.Key {
			path = at.Key
		}
		return red(id, "give both files of one certificate, in PEM", "%s: %v", path, bad.Err)
	}
	left := c.End.Sub(now)
	switch bad := c.Timely(now); {
	case bad != nil:
		return red(id, "renew it: clients that look at it break off", "%s, for %s: %v", at.Chain, c.Name, bad)
	case left < imsg.EndsSoon:
		return warn(id, "renew it", "%s, for %s, ends at %s", at.Chain, c.Name, stamp(c.End))
	}
	text := fmt.Sprintf("%s, for %s, ends at %s", at.Chain, c.Name, stamp(c.End))
	if p.status != nil && p.temporary == nil {
		for _, s := range p.status.Certificates {
			if s.Name == c.Name && s.Problem != "" {
				return warn(id, "reload the daemon, and see its log", "%s; the daemon has not taken it: %s", text, s.Problem)
			}
		}
	}
	return green(id, "%s", strings.TrimSpace(text))
}
