// Who the rooms are. Names become numbers here, before any chroot; a room is
// told numbers only.

package site

import (
	"fmt"
	"slices"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// findUsers finds who the rooms are: without root, whoever we are.
func (s *Site) findUsers() (err error) {
	s.who = map[imsg.Room]host.User{}
	for _, r := range s.Rooms {
		s.who[r.Name] = host.NoUser
		if s.Rooted && s.Has(r) {
			if s.who[r.Name], err = s.user(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// user finds who a room is; the error names the remedy.
func (s *Site) user(r Room) (host.User, error) {
	name := s.User(r.Name)
	u, err := host.FindUser(name)
	if err != nil {
		return u, fmt.Errorf("user %q of the %s room does not exist: create it, or name another with %s or %s", name, r.Name, s.Called(r.User), s.Called("set_user"))
	}
	if s.SetGroup != "" {
		if u.GID, err = host.FindGroup(s.SetGroup); err != nil {
			return u, fmt.Errorf("%s: %w", s.Called("set_group"), err)
		}
	}
	if u.UID == 0 {
		return u, fmt.Errorf("user %q of the %s room is root: name an unprivileged one with %s or %s", name, r.Name, s.Called(r.User), s.Called("set_user"))
	}
	if r.Groups {
		all, err := host.GroupsOf(name)
		if err != nil {
			return u, fmt.Errorf("groups of user %q: %w", name, err)
		}
		u.Groups = slices.DeleteFunc(all, func(g int) bool { return g == u.GID })
	}
	return u, nil
}
