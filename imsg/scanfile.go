// What an operator has looked at by the scanners. It is no message of any session.

package imsg

// ScanNow asks what the gateway would do with a message that is the file behind the
// descriptor, which is regular and open for reading alone.
type ScanNow struct{}

func (*ScanNow) answer(*FileVerdict) {}

// ScanFile asks a worker what ScanNow asks.
type ScanFile struct{}

func (*ScanFile) answer(*FileVerdict) {}

// FileVerdict answers ScanNow and ScanFile. Reply is what a client would hear of the message, with its
// line's end left out; empty: what the server answers.
type FileVerdict struct {
	Errno     Errno         // nobody has looked, and why
	Detail    string        `rule:"..200 printable"` // of Errno, in words
	Size      int64         `rule:"0.."`
	Findings  []Finding     `rule:"..MaxFindings"`
	Skipped   []SkippedRole `rule:"..2"`
	Reply     string        `rule:"..512 readable"`
	Would     PolicyRuleSet // rules of policy.monitor that would have refused it
	Unscanned bool          // it would pass, although a scanner that is to look at it failed
}

// SkippedRole is what no engine was asked, and why, in a word.
type SkippedRole struct {
	Roles Roles
	Cause string `rule:"..32 word"`
}
