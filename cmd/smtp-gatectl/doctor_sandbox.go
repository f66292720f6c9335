// The probe of how rooms are locked in.

package main

import (
	"context"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
	"github.com/smtp-gated/smtp-gated/parent/site"
)

// probeSandbox asks the kernel how each room of a family is locked in.
func probeSandbox(_ context.Context, p *patient) (all []result) {
	const id = "sandbox-ROOM"
	switch {
	case p.status == nil:
		return []result{skip("sandbox", "%s", p.noFamily)}
	case !p.root:
		return []result{skip("sandbox", "only root can look into processes of others")}
	}
	s := p.site()
	for _, r := range s.Rooms {
		var pids []int
		for _, m := range p.status.Rooms {
			if m.Name == r.Name.String() && m.State == imsg.Running.String() {
				pids = append(pids, m.PID)
			}
		}
		if len(pids) > 0 {
			all = append(all, p.lockedIn(idOf(id, r.Name.String()), r, pids))
		}
	}
	return all
}

func (p *patient) lockedIn(id string, r site.Room, pids []int) result {
	const remedy = "restart the daemon; if it stays so, tell its makers"
	v, err := p.view(r)
	if err != nil {
		return skip(id, "%v", err)
	}
	scripts := r.Root == site.WholeTree // what starts programs is spared what they would inherit
	for _, pid := range pids {
		c, err := confinementOf(pid)
		if err != nil {
			return skip(id, "process %d: %v", pid, err)
		}
		uid, _ := lookAt(pid)
		switch {
		case p.rooted && uid != nil && (*uid == 0 || p.temporary == nil && *uid != v.Spec.Identity.UID):
			return red(id, remedy, "process %d is user %s, not %s", pid, host.UserName(*uid), host.UserName(v.Spec.Identity.UID))
		case p.rooted && v.Spec.Chroot && c.root == "/":
			return red(id, remedy, "process %d has the whole tree as its root directory", pid)
		case c.capabilities != "":
			return red(id, remedy, "process %d has capabilities %s", pid, c.capabilities)
		case !scripts && !c.noNew:
			return red(id, remedy, "process %d can gain privileges (no_new_privs is not set)", pid)
		case !scripts && !c.filtered && !slices.Contains(p.status.Lacks, sandbox.LacksFilters):
			return red(id, remedy, "process %d has no filter of system calls", pid)
		case !scripts && !c.filtered:
			return warn(id, "use a kernel that has it: see kernel", "process %d has no filter of system calls", pid)
		}
	}
	fact := "no capabilities, no new privileges, system calls filtered"
	if !slices.Contains(p.status.Lacks, sandbox.LacksLandlock) { // which comes with the filter: see rooms.go
		fact += ", Landlock"
	}
	if scripts {
		fact = "no capabilities; it may start programs"
	}
	if p.rooted && v.Spec.Chroot {
		fact = "a root directory of its own, " + fact
	}
	return green(id, "%s", fact)
}
