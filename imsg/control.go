// What the operator asks lockd, and lockd the parent on its behalf.

package imsg

import "time"

// Orders is how often lockd passes a Reload, a LogLevel or a Stop on. One that does so at more than
// twice the pace is ended: no operator made it do that.
var Orders = Pace{Burst: 60, Every: 100 * time.Millisecond}

// Status asks for the family's state.
type Status struct{}

func (*Status) answer(*StatusReport) {}

// StatusReport answers Status.
type StatusReport struct {
	Family   Family
	Health   Health
	Found    int             `rule:"0.."`              // findings
	Findings []StatusFinding `rule:"..StatusFindings"` // the worst of them first
	Now      int64           `rule:"0.."`
	Engines  []ScanEngine    `rule:"..MaxEngines"` // that messages are shown to
	Sessions int             `rule:"0.."`          // live
	Limit    int             `rule:"0.."`          // max_connections
	Load     float64         `rule:"0..1e6"`
	Locks    int             `rule:"0.."`
	Exempt   int             `rule:"0.."`                                // exemptions in force
	States   []uint64        `rule:"..States each ..MaxReport"`          // of live sessions, as far as workers answered
	Lists    []ListCount     `rule:"..MaxLists"`                         // block lists, as configured
	Counters []uint64        `rule:"..Slots each any: it is only shown"` // by slot

	Certificates []CertificateStatus `rule:"..MaxCertificates"` // that clients are shown
	Traces       []TraceStatus       `rule:"..MaxTraces"`       // under way
}

// Sessions asks for the live sessions with a number above After.
type Sessions struct {
	After uint64 `rule:"any: those above it are looked up"`
}

func (*Sessions) answer(*SessionList) {}

// SessionList answers Sessions. Silent counts the workers that did not answer in time.
type SessionList struct {
	Sessions []LiveSession `rule:"..LivePage"`
	More     bool
	Silent   int `rule:"0.."`
}

// EndSession asks to have a live session ended at once. Start tells it from another one
// of that number, under a lockd before: the second in which it began, as its client can
// quote it.
type EndSession struct {
	Number uint64 `rule:"any: looked up among the live sessions"`
	Start  int64  `rule:"0.."` // Unix seconds, 0: it is not said
}

func (*EndSession) answer(*Done) {}

// ReloadNow asks for a reload.
type ReloadNow struct{}

func (*ReloadNow) answer(*Done) {}

// UpgradeNow asks to have the program take over that has our name in the file system now.
type UpgradeNow struct{}

func (*UpgradeNow) answer(*Done) {}

// StopNow asks to stop: after the last session, or at once.
type StopNow struct{ Now bool }

func (*StopNow) answer(*Done) {}

// SetLogLevel asks to have everybody log by another level until the next reload. Errors are
// logged by each of them: who has this said for him could else be ended for what he does,
// and nobody would read of it.
type SetLogLevel struct {
	Below int           `rule:"0..4"`    // levels below err that are logged, too: 4 with debug
	For   time.Duration `rule:"0..720h"` // 0: until then
}

// MaxLogTime is the longest time for which that may be asked for: 30 days.
const MaxLogTime = 720 * time.Hour

func (*SetLogLevel) answer(*Done) {}

// Dump asks lockd to write the state file into the descriptor that comes along.
type Dump struct{}

func (*Dump) answer(*Done) {}

// Reload asks the parent to read its configuration again. Detail of the answer
// says where the file is wrong.
type Reload struct{}

func (*Reload) answer(*Done) {}

// Upgrade asks the parent to have the program take over that has our name in the file
// system now. It is answered when that one is about to, and nothing has changed yet.
type Upgrade struct{}

func (*Upgrade) answer(*Done) {}

// LogLevel asks the parent to have every room log by another level: see SetLogLevel.
type LogLevel struct {
	Below int           `rule:"0..4"`
	For   time.Duration `rule:"0..720h"`
}

func (*LogLevel) answer(*Done) {}

// Stop asks the parent to end the family: after the last session, or at once.
type Stop struct{ Now bool }

func (*Stop) answer(*Done) {}
