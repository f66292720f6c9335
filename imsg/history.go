// What is kept of events, and what an operator asks of it.

package imsg

// MaxQuotes is how many sessions one record of the history names.
const MaxQuotes = 16

// HistoryRecord is what is kept of events of one kind, client and rule within a minute:
// the last of them, when the first one was, how many there were, and of which sessions.
type HistoryRecord struct {
	Event  Event
	First  int64   `rule:"0.."` // Unix nanoseconds
	Count  uint64  `rule:"1..MaxReport"`
	Quotes []Quote `rule:"..MaxQuotes"`
}

// Quote names one of the sessions of a record, and its sender.
type Quote struct {
	ID     string `rule:"..64 name"`
	Sender string `rule:"..MaxSender printable"`
}

// Explain asks what is kept about a session, by its id, a client, by its address, or a
// sender; newest first, but for the first Skip records.
type Explain struct {
	About string `rule:"..MaxSender free: parsed, or looked up"`
	Skip  int    `rule:"0.."`
}

func (*Explain) answer(*Explanation) {}

// Explanation answers Explain. Lock is that of the client now, and Exempt are the
// exemptions that it has.
type Explanation struct {
	Records []HistoryRecord `rule:"..ExplainPage"`
	More    bool
	Locked  bool
	Lock    LockEntry
	Exempt  []Exemption `rule:"..MaxExplained"`
}

// MaxExplained is how many exemptions of a client an Explanation names.
const MaxExplained = 16

// ExplainPage is the largest number of records in one Explanation.
const ExplainPage = 8

// HistoryForget asks to erase what is kept about a client, by its address, or a sender.
type HistoryForget struct {
	About string `rule:"..MaxSender free: parsed, or looked up"`
}

func (*HistoryForget) answer(*Done) {}

// HistoryFile hands lockd the file that keeps the history, open for reading and writing.
type HistoryFile struct{}

func (*HistoryFile) notice() {}
