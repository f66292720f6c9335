// Who lives, for the operator's eyes.

package imsg

// Family tells lockd who lives, for the operator's eyes.
type Family struct {
	Version    string
	Config     string // path of the configuration in force
	Generation int
	Started    int64 // of the family
	Reloaded   int64 // of the last completed reload, 0 for none
	Crashes    int   // rooms that ended unasked
	LastCrash  int64
	Lacks      []string // layers of the sandbox that the kernel has not
	Rooms      []Member
}

func (*Family) notice() {}

// Member is one running room.
type Member struct {
	Room       Room
	Member     int
	PID        int
	Generation int
	State      MemberState
	Started    int64
}

// MemberState is how far a room has come in its life.
type MemberState uint8

// The states of a room.
const (
	Starting MemberState = iota + 1
	Running
	Draining
)

func (s MemberState) String() string {
	return [...]string{0: "unknown", Starting: "starting", Running: "running", Draining: "draining"}[min(s, Draining)]
}
