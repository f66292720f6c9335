// Who lives, for the operator's eyes.

package imsg

// Family tells lockd who lives, for the operator's eyes.
type Family struct {
	Version    string    `rule:"..255 free: the tool makes it printable"`
	Config     string    `rule:"..4096 free: the tool makes it printable"` // path of the configuration in force
	TOML       bool      // its syntax: options are called as that has them
	Listen     []string  `rule:"..FamilyListens each ..80 printable"` // addresses of the listeners in force
	Generation int       `rule:"0.."`
	Started    int64     `rule:"0.."` // of the family
	Reloaded   int64     `rule:"0.."` // of the last completed reload, 0 for none
	Crashes    int       `rule:"0.."` // rooms that ended unasked
	LastCrash  int64     `rule:"0.."`
	Restarts   []uint64  `rule:"..AllRooms each any: it is only shown"` // of Crashes, by Room
	LinesLost  uint64    `rule:"any: it is only shown"`                 // of all rooms' logs
	Lacks      []string  `rule:"..16 each ..255 printable"`             // layers of the sandbox that the kernel has not
	LogLevel   string    `rule:"..16 word"`                             // in force
	LogSet     bool      // by an operator: it is not the configuration's
	LogUntil   int64     `rule:"0.."` // when it is that again, 0: at the next reload
	Rooms      []Member  `rule:"..1024"`
	Troubles   []Trouble `rule:"..32"`
}

func (*Family) notice() {}

// FamilyListens is the largest number of listeners that are told of.
const FamilyListens = 64

// Member is one running room.
type Member struct {
	Room       Room
	Member     int `rule:"0.."`
	PID        int `rule:"0.."`
	Generation int `rule:"0.."`
	State      MemberState
	Started    int64  `rule:"0.."`
	Goroutines uint32 `rule:"any: it is only shown"` // when last it was asked whether it works, 0: it never was
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
