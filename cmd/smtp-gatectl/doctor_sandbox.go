// The probe of how rooms are locked in.

package main

import (
	"context"
	"fmt"
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
	v, err := p.view(r)
	if err != nil {
		return skip(id, "it has no user: see users")
	}
	for _, pid := range pids {
		c, err := confinementOf(pid)
		if err != nil {
			return skip(id, "process %d: %v", pid, err)
		}
		uid, _ := lookAt(pid)
		if fault := p.loose(uid, c, r, v); fault != "" {
			return red(id, "restart the daemon; if it stays so, tell its makers", "process %d %s", pid, fault)
		}
		if c.filtered || r.Root == site.WholeTree {
			continue
		}
		return warn(id, "use a kernel that has it: see kernel", "process %d has no filter of system calls", pid)
	}
	fact := "no capabilities, no new privileges, system calls filtered"
	if !slices.Contains(p.status.Lacks, sandbox.LacksLandlock) { // which comes with the filter: see rooms.go
		fact += ", Landlock"
	}
	if r.Root == site.WholeTree {
		fact = "no capabilities; it may start programs"
	}
	if p.rooted && v.Spec.Chroot {
		fact = "a root directory of its own, " + fact
	}
	return green(id, "%s", fact)
}

// loose tells in which way a process of a room is not held that should be. What starts
// programs is spared what they would inherit.
func (p *patient) loose(uid *int, c confinement, r site.Room, v site.View) string {
	scripts := r.Root == site.WholeTree
	switch {
	case p.rooted && uid != nil && (*uid == 0 || p.temporary == nil && *uid != v.Spec.Identity.UID):
		return fmt.Sprintf("is user %s, not %s", host.UserName(*uid), host.UserName(v.Spec.Identity.UID))
	case p.rooted && v.Spec.Chroot && c.root == "/":
		return "has the whole tree as its root directory"
	case c.capabilities != "":
		return "has capabilities " + c.capabilities
	case !scripts && !c.noNew:
		return "can gain privileges (no_new_privs is not set)"
	case !scripts && !c.filtered && !slices.Contains(p.status.Lacks, sandbox.LacksFilters):
		return "has no filter of system calls"
	}
	return ""
}
