// What a session asks scand.

package imsg

import "time"

// Scan asks what there is to say about the spooled message behind the descriptor,
// which is open for reading only. Engines use pread: they share its offset.
type Scan struct {
	Number uint64 `rule:"any: it is only logged"`
	Size   int64  `rule:"0.."`
	Roles  Roles
	Spool  string `rule:"..64 name"` // its name inside the spool directory
}

func (*Scan) answer(*Verdict) {}

// ScanEngine is an engine and what it is asked.
type ScanEngine struct {
	Engine Engine
	Roles  Roles
}

// Outcome is how one engine's work ended.
type Outcome uint8

// The outcomes. Only Clean and Caught are verdicts.
const (
	NotAsked Outcome = iota
	Clean
	Caught
	Failed
	TimedOut
)

func (o Outcome) String() string {
	return [...]string{NotAsked: "not asked", Clean: "clean", Caught: "caught", Failed: "failed", TimedOut: "timed out"}[min(o, TimedOut)]
}

// Verdict answers Scan: a finding of each engine that was asked, and one for the
// roles that no engine has.
type Verdict struct {
	Findings []Finding `rule:"..MaxFindings"`
}

// Finding is what came of one engine's work. It answers for all its roles: what
// failed has failed in each of them.
type Finding struct {
	Engine  Engine
	Roles   Roles // those of the question that the engine has
	Outcome Outcome
	Name    string        `rule:"..255 printable"` // of the virus that was Caught
	Score   float64       `rule:"-MaxScore..MaxScore"`
	Problem string        `rule:"..500 printable"` // words what is no verdict, for the log
	Time    time.Duration `rule:"0.."`
	Slow    bool          // that was more than half of the engine's time-out
}

// MaxEngines is how many engines there may be: so many findings fit a Verdict.
const MaxEngines = 8
