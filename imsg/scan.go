// What a session asks scand.

package imsg

import "time"

// Scan asks for a verdict over the spooled message behind the descriptor, which
// is open for reading only. Engines use pread: they share its offset.
type Scan struct {
	Number uint64
	Size   int64
	Virus  bool
	Spam   bool
	Spool  string // its name inside the spool directory
}

func (*Scan) answer(*Verdict) {}

// Outcome is how one engine's work ended.
type Outcome uint8

// The outcomes. Only Clean and Found are verdicts.
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

// Verdict answers Scan. Problem words a Failed outcome for the log.
type Verdict struct {
	Virus        Outcome
	VirusName    string // at most 255 octets, printable
	VirusProblem string
	VirusTime    time.Duration
	Spam         Outcome // Caught is never said: the session compares Score with its threshold
	Score        float64
	SpamProblem  string
	SpamTime     time.Duration
}
