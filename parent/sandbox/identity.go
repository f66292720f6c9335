// Who a process becomes. This file owns that there is no way back.

package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
)

// Identity is a user with its groups, by number.
type Identity struct {
	UID, GID int
	Groups   []int // beside GID
}

// Unchanged is the identity of a process that stays who it is.
var Unchanged = Identity{UID: -1, GID: -1}

// sane tells whether i is Unchanged, or a user and a group that the kernel has numbers
// for: the largest of 32 bits has it change nothing.
func (i Identity) sane() bool {
	if i.UID == Unchanged.UID {
		return i.GID == Unchanged.GID && len(i.Groups) == 0
	}
	return 0 <= min(i.UID, i.GID) && int64(max(i.UID, i.GID)) < math.MaxUint32
}

// Become changes this process, all of its threads, to the identity for good. It
// needs root, but for Unchanged.
func (i Identity) Become() error {
	if i.UID < 0 {
		return nil
	}
	if err := setGroups(append([]int{i.GID}, i.Groups...)); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := setGID(i.GID); err != nil {
		return fmt.Errorf("set group %d: %w", i.GID, err)
	}
	if err := setUID(i.UID); err != nil {
		return fmt.Errorf("set user %d: %w", i.UID, err)
	}
	return i.verify()
}

// verify makes sure that there is no way back.
func (i Identity) verify() error {
	if os.Getuid() != i.UID || os.Geteuid() != i.UID || os.Getgid() != i.GID || os.Getegid() != i.GID {
		return fmt.Errorf("the kernel says we are still user %d group %d", os.Geteuid(), os.Getegid())
	}
	have, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("get groups: %w", err)
	}
	for _, g := range have {
		if g != i.GID && !slices.Contains(i.Groups, g) {
			return fmt.Errorf("group %d is still ours", g)
		}
	}
	if i.UID != 0 && setUID(0) == nil {
		return errors.New("user 0 could be regained")
	}
	if i.UID != 0 && i.GID != 0 && setGID(0) == nil {
		return errors.New("group 0 could be regained")
	}
	return nil
}
