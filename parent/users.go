// Who the rooms are. Names become numbers here, before any chroot; a room is
// told numbers only.

package parent

import (
	"fmt"
	"slices"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// account finds who a room is; the error names the remedy.
func (r *room) account(c *config.Config) (host.User, error) {
	name := c.User(r.Room)
	u, err := host.FindUser(name)
	if err != nil {
		return u, fmt.Errorf("user %q of the %s room does not exist: create it, or name another with %s or %s", name, r.Room, c.Called(r.user), c.Called("set_user"))
	}
	if c.SetGroup != "" {
		if u.GID, err = host.FindGroup(c.SetGroup); err != nil {
			return u, fmt.Errorf("%s: %w", c.Called("set_group"), err)
		}
	}
	if u.UID == 0 {
		return u, fmt.Errorf("user %q of the %s room is root: name an unprivileged one with %s or %s", name, r.Room, c.Called(r.user), c.Called("set_user"))
	}
	if r.groups {
		all, err := host.GroupsOf(name)
		if err != nil {
			return u, fmt.Errorf("groups of user %q: %w", name, err)
		}
		u.Groups = slices.DeleteFunc(all, func(g int) bool { return g == u.GID })
	}
	return u, nil
}
