// Traces: the dialogue of a client's next sessions, in a file of an operator's. lockd
// decides which sessions those are, and their workers write.

package imsg

import (
	"net/netip"
	"strconv"
	"time"
)

// What traces may take.
const (
	MaxTraces        = 4        // at once
	MaxTraceSessions = 100      // of one
	MaxTrace         = 10 << 20 // octets of its file

	// TraceHead is how many of these are for what stands at the head of the file.
	TraceHead = 4 << 10
)

// Trace asks to have the dialogue of a client's next sessions written into the file that
// comes along.
type Trace struct {
	Client   netip.Addr    `rule:"set"`
	Bits     int           `rule:"0..128"` // of Client, which names a network
	Sessions int           `rule:"1..MaxTraceSessions"`
	For      time.Duration `rule:"0..24h"`
}

func (*Trace) answer(*Done) {}

// TraceFile hands the file of a trace to a worker. It comes before the Admission of a
// session that is traced.
type TraceFile struct {
	ID    uint64 `rule:"1..1e18"`     // of the trace
	Share int    `rule:"1..MaxTrace"` // octets that each session may write
}

func (*TraceFile) notice() {}

// TraceEnd says that a trace is over, whatever becomes of the sessions that are traced.
type TraceEnd struct {
	ID uint64 `rule:"1..1e18"`
}

func (*TraceEnd) notice() {}

// TraceStatus is a trace that is under way.
type TraceStatus struct {
	Client  netip.Addr `rule:"set"`
	Bits    int        `rule:"0..128"`
	Left    int        `rule:"0..MaxTraceSessions"` // sessions to come
	Running int        `rule:"0..MaxTraceSessions"`
	Until   int64      `rule:"0.."`
	UID     int        `rule:"-1.."` // of the operator; -1 if the system does not tell
}

// NetworkText names an address, or a network of more than one.
func NetworkText(a netip.Addr, bits int) string {
	if bits == a.BitLen() {
		return a.String()
	}
	return a.String() + "/" + strconv.Itoa(bits)
}
