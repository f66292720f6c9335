// Errors that cross a link. They are numbers with one meaning each, so that no
// room can put words into another's mouth.

package imsg

// Errno is an error as it crosses a link.
type Errno uint16

// The errors. Zero is no error.
const (
	Internal Errno = iota + 1 // the other room could not do its own work
	Busy                      // too much is waiting already; try again
	Timeout                   // no answer in time
	Gone                      // the other room ended before it answered
	Invalid                   // what was asked makes no sense
	NotFound
	Exists
	Denied
	Resource  // disk, memory or descriptors ran out
	Malformed // an answer from outside names no usable address
	Off       // the configuration does without
	ReadOnly  // who asks may look, and change nothing
)

var errnoTexts = [...]string{
	0:         "no error",
	Internal:  "internal error",
	Busy:      "busy",
	Timeout:   "timed out",
	Gone:      "room gone",
	Invalid:   "invalid request",
	NotFound:  "not found",
	Exists:    "exists already",
	Denied:    "permission denied",
	Resource:  "out of resources",
	Malformed: "unusable address",
	Off:       "switched off",
	ReadOnly:  "this socket only reads",
}

// Error implements error.
func (k Errno) Error() string { return errnoTexts[min(int(k), len(errnoTexts)-1)] }

// Temporary tells whether asking again later may help.
func (k Errno) Temporary() bool { return k == Busy || k == Timeout || k == Gone || k == Resource }
