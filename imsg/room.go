// Who can stand at an end of a link. This file owns the names of the rooms.

package imsg

import "strings"

// Room is one kind of process of the family, or the operator's tool.
type Room uint8

// The rooms. Their numbers appear on the wire and in arguments of re-exec.
const (
	Parent Room = iota + 1
	Session
	Lookupd
	Scand
	Lockd
	Action
	Keys
	Control // smtp-gatectl, at the far end of the control socket
	Reader  // the same, at that of the read socket: it may look, and change nothing
)

// AllRooms is how many numbers a table has that is indexed by rooms that are processes.
const AllRooms = Control

var roomNames = [...]string{Parent: "parent", Session: "session", Lookupd: "lookupd", Scand: "scand", Lockd: "lockd", Action: "action", Keys: "keys", Control: "control", Reader: "reader"}

// String returns the room's name as it stands in logs and in `-x ROOM`.
func (r Room) String() string {
	if r == 0 || int(r) >= len(roomNames) {
		return "nobody"
	}
	return roomNames[r]
}

// ParseRoom is the inverse of String for rooms that run as a process of ours.
func ParseRoom(name string) (Room, bool) {
	for r := Parent; r < Control; r++ {
		if roomNames[r] == name {
			return r, true
		}
	}
	return 0, false
}

// Rooms is a set of rooms.
type Rooms uint16

func set(rooms ...Room) Rooms {
	var s Rooms
	for _, r := range rooms {
		s |= 1 << r
	}
	return s
}

// Children returns the rooms that the parent starts.
func Children() (all []Room) {
	for r := Parent + 1; r < Control; r++ {
		all = append(all, r)
	}
	return all
}

// Has tells whether r is in the set.
func (s Rooms) Has(r Room) bool { return s&(1<<r) != 0 }

// String lists the set's rooms, joined by commas.
func (s Rooms) String() string {
	if s == children {
		return "any room"
	}
	var names []string
	for r := Parent; int(r) < len(roomNames); r++ {
		if s.Has(r) {
			names = append(names, r.String())
		}
	}
	return strings.Join(names, ", ")
}
