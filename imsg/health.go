// How the gateway is, for whoever asks or watches. This file owns the words for it; what
// makes it so is lockd/findings' to judge.

package imsg

import "time"

// Health is the sum of all findings.
type Health uint8

// The verdicts.
const (
	Well     Health = iota // there is no finding
	Degraded               // there are
	Down                   // no session can succeed
)

func (h Health) String() string {
	return [...]string{Well: "well", Degraded: "degraded", Down: "down"}[min(h, Down)]
}

// StatusFinding is a finding as it stands. Times are Unix nanoseconds.
type StatusFinding struct {
	Finding FindingID `rule:"1.."`
	Object  string    `rule:"..255 printable"`
	Since   int64     `rule:"0.."`
	Last    int64     `rule:"0.."` // time it went wrong
	Good    bool      // it went well since
	Count   uint64    `rule:"any: it is only shown"` // how often it did
	Text    string    `rule:"..200 printable"`       // of the last time
}

// StatusFindings is the largest number of findings in one report.
const StatusFindings = 32

// Condition tells the parent how the gateway is, when that has changed: it tells the
// service manager.
type Condition struct {
	Health Health
	Worst  string `rule:"..200 printable"` // finding, with its object; empty if there is none
}

func (*Condition) notice() {}

// Conditions is how often lockd says so at most.
var Conditions = Pace{Burst: 60, Every: time.Second}
