// Probes of the rooms: who they are, where they live, and what they see from there.

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/parent"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

func probeUsers(_ context.Context, p *patient) []result {
	const id = "users"
	if !p.rooted {
		return []result{green(id, "the daemon runs without root: every room is user %s", host.UserName(p.rootless()))}
	}
	if met := p.met("set_user"); len(met) > 0 {
		return []result{red(id, "create each, or name others; as root no room can do without", "%s", met[0].Text)}
	}
	var names []string
	s := p.site()
	for _, r := range s.Rooms {
		if !s.Has(r) {
			continue
		}
		v, err := p.view(r)
		if err != nil {
			return []result{red(id, "name users that there are, as {set_user} does", "%v", err)}
		}
		if name := host.UserName(v.Spec.Identity.UID); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return []result{green(id, "%s", strings.Join(names, ", "))}
}

// rootless is the user of all rooms without root.
func (p *patient) rootless() int {
	if p.identity.UID > 0 {
		return p.identity.UID
	}
	return os.Geteuid()
}

func probeFolders(_ context.Context, p *patient) []result {
	const id = "folders"
	met := p.met("spool_path", "lock_path", "pidfile", "ratelimit_path")
	var wrong []string
	for _, w := range met {
		if !strings.Contains(w.Text, "nothing is cleared away") {
			wrong = append(wrong, w.String())
		}
	}
	if wrong != nil {
		return []result{red(id, "give each to its room, or name another folder; one that is missing is made at the start", "%s", strings.Join(wrong, "; "))}
	}
	if len(met) > 0 {
		return []result{warn(id, "give each room a folder that nobody else puts things into", "%s", met[0])}
	}
	fact := "spool " + p.Inside(p.SpoolPath) + ", locks " + p.Inside(p.LockPath)
	for _, path := range []string{p.SpoolPath, p.LockPath} {
		if _, err := os.Stat(p.Inside(path)); err != nil && p.hidden(err) {
			return []result{skip(id, "only root can look there: %v", err)}
		} else if os.IsNotExist(err) {
			fact += "; what is missing is made at the start"
			break
		}
	}
	return []result{green(id, "%s", fact)}
}

// hidden tells whether an error is due to who looks.
func (p *patient) hidden(err error) bool { return os.IsPermission(err) && !p.root }

// probeRooms has each room's stand-in try what the room does.
func probeRooms(ctx context.Context, p *patient) (all []result) {
	s := p.site()
	for _, r := range s.Rooms {
		if s.Has(r) {
			all = append(all, p.standFor(ctx, r))
		}
	}
	return all
}

func (p *patient) standFor(ctx context.Context, r site.Room) result {
	id := idOf("room-ROOM", r.Name.String())
	v, err := p.view(r)
	if err != nil {
		return skip(id, "it has no user: see users")
	}
	if why := p.become(v); why != "" {
		return skip(id, "%s", why)
	}
	instead := ""
	if _, err := os.Stat(v.Spec.RootDir); os.IsNotExist(err) {
		switch {
		case p.temporary != nil: // it has one made in the same way
			instead = ", in place of " + v.Spec.RootDir + ", which is made at the start"
			if v, err = parent.Site(temporary(p.Config, p.temporary.dir), p.rooted).View(r); err != nil {
				return skip(id, "it has no user: see users")
			}
		case p.status == nil:
			return skip(id, "%s is made at the start", v.Spec.RootDir)
		default:
			return red(id, "make it again, or restart the daemon, which does", "%s is gone", v.Spec.RootDir)
		}
	}
	attempts, fact := p.attemptsOf(v)
	child, err := standAt(ctx, v, nil)
	if err != nil {
		return red(id, "see whether smtp-gatectl may start programs", "%v", err)
	}
	defer child.dismiss()
	who := "user " + host.UserName(v.Spec.Identity.UID)
	if v.Spec.Identity.UID < 0 {
		who = "user " + host.UserName(os.Geteuid())
	}
	for _, a := range attempts {
		t, err := child.try(a.attempt)
		switch {
		case err != nil:
			return red(id, "see that the folder is there, and the way to it open to root", "%s cannot be entered as %s: %v", v.Spec.RootDir, who, err)
		case t.Error != "":
			text := fmt.Sprintf("%s cannot %s %s: %s", who, a.Kind+a.to(), a.shown, t.Error)
			for _, w := range p.met(seenOf[v.Root]...) { // who looks at modes knows what is closed
				if strings.Contains(w.Text, a.shown) {
					text += "; " + w.Text
				}
			}
			return red(id, a.remedy, "%s", text)
		}
	}
	return green(id, "%s, %s%s", who, fact, instead)
}

// seenOf are the options by which a look at modes sees what rooms with a root see.
var seenOf = map[site.Root][]string{
	site.Scanners: {"antivirus_path", "antispam_path"}, site.WholeTree: {"action_script"},
}

// to is what follows an attempt's verb.
func (a *attempt) to() string {
	return map[string]string{toWork: " in", toPass: " through", toConnect: " to"}[a.Kind]
}

// roomAttempt is an attempt as an administrator sees it.
type roomAttempt struct {
	attempt
	shown, remedy string
}

// attemptsOf are what a room does, and what can be said when all of that succeeds.
func (p *patient) attemptsOf(v site.View) (all []roomAttempt, fact string) {
	here := func(kind string) attempt { return attempt{Kind: kind, Path: "."} }
	switch v.Root {
	case site.Spool, site.Locks:
		remedy := fmt.Sprintf("give %s to that user, with all rights, and look whether its disk can be written", v.Spec.RootDir)
		return []roomAttempt{{here(toWork), v.Spec.RootDir, remedy}}, "works in " + v.Spec.RootDir
	case site.WholeTree:
		if p.ActionScript == "" {
			return []roomAttempt{{here(toPass), v.Spec.RootDir, "let that user pass through it"}}, "has no script to run"
		}
		script := p.Inside(p.ActionScript)
		return []roomAttempt{
			{attempt{Kind: toRun, Path: script}, script, "make it executable, and the way to it open, for that user"},
			{here(toPass), v.Spec.RootDir, "let that user pass through it: the script works there"},
		}, "may run " + script
	case site.Scanners:
		var at []string
		for _, e := range p.Scand(func(path string) string { return v.Local[path] }).Engines {
			a := roomAttempt{attempt: attempt{Kind: toConnect, Network: "unix", Path: e.Socket}, shown: e.Name}
			switch {
			case !e.Engine.Kind().Remote():
				continue
			case e.Socket == "":
				a.Network, a.Path, a.shown = "tcp", e.Address.String(), e.Address.String()
				a.remedy = fmt.Sprintf("see that %s runs%s and listens there, and that no firewall is between", e.Engine, starts(e.Engine))
			default:
				a.remedy = fmt.Sprintf("see that %s runs%s, and that its socket and the way to it are open to that user, as by a group of its own", e.Engine, starts(e.Engine))
				if !v.Spec.Chroot {
					a.Path = e.Name
				}
			}
			all = append(all, a)
			at = append(at, a.shown)
		}
		if len(at) > 0 {
			return all, "reaches " + strings.Join(at, " and ")
		}
	}
	return append(all, roomAttempt{here(toPass), v.Spec.RootDir, "let that user pass through it"}), "needs nothing in " + v.Spec.RootDir
}
