// Package host is what the parent does with the machine it runs on: users, folders
// and files of its own, the log's other end, the service manager, addresses and
// name servers. It knows no configuration and no room but by what it is told.
//
// This file owns that names become numbers.
package host

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// User is a user with its groups, by number.
type User struct {
	UID, GID int
	Groups   []int // beside GID
}

// NoUser is nobody in particular: whoever this process is.
var NoUser = User{UID: -1, GID: -1}

// Ourselves is who this process is.
func Ourselves() User {
	groups, _ := os.Getgroups()
	return User{os.Geteuid(), os.Getegid(), groups}
}

// FindUser finds a user by its name or number, with its own group and no other.
func FindUser(name string) (User, error) {
	u, err := lookup(name)
	if err != nil {
		return NoUser, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return NoUser, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return User{UID: uid, GID: gid}, err
}

func lookup(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if _, nerr := strconv.Atoi(name); nerr == nil {
		return user.LookupId(name)
	}
	return nil, err
}

// GroupsOf returns all groups of a user that FindUser finds.
func GroupsOf(name string) (groups []int, err error) {
	u, err := lookup(name)
	if err != nil {
		return nil, err
	}
	all, err := u.GroupIds()
	for _, g := range all {
		if n, err := strconv.Atoi(g); err == nil && !slices.Contains(groups, n) {
			groups = append(groups, n)
		}
	}
	return groups, err
}

// FindGroup finds a group by its name or number, which need not have a name.
func FindGroup(name string) (int, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(g.Gid)
	}
	if n, err := strconv.Atoi(name); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("group %q does not exist", name)
}

// UserName returns what a user is called: its number, if it has no name.
func UserName(n int) string {
	if u, err := user.LookupId(strconv.Itoa(n)); err == nil {
		return u.Username
	}
	return strconv.Itoa(n)
}

// GroupName returns what a group is called: its number, if it has no name.
func GroupName(n int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(n)); err == nil {
		return g.Name
	}
	return strconv.Itoa(n)
}
