// Package rates is what is remembered of each client's uses, and how it is held
// against quotas. It knows no session: who asks, and who must be told, is a matter of
// its callers.
package rates

import (
	"errors"
	"fmt"
)

// Store remembers one record for each client. This file owns what is asked of it; where
// records are kept is a matter of those who implement it.
//
// Behind a store there is a disk or a network, which may not answer. So its calls block
// for as long as that takes, and whoever calls holds no lock. That they block, and take
// no function to call back, costs nobody anything: who judges a client has a goroutine
// for it already, as its lock file has to be looked at, too; and what follows from the
// answer, giving back above all, stands in the order in which it happens.
//
// Any goroutine may call.
type Store interface {
	// Change has change look at a client's record, nil if there is none, and return
	// what is remembered from now on: that record, another, or nil for none. Nobody
	// changes it meanwhile. change runs under the store's lock, and once more if
	// another was faster: it must do nothing else, and keep no pointer. An error says
	// that nothing has changed: ErrRecord, ErrStore, or that no more can be kept.
	Change(client string, change func(*Record) *Record) error
	// Look returns a copy of a client's record, nil if there is none. Its errors are
	// ErrRecord and ErrStore.
	Look(client string) (*Record, error)
	// Forget removes a client's record, and need not be able to read it.
	Forget(client string) error
	// Page returns copies of at most n records whose name sorts behind after, in their
	// order, and whether there are more.
	Page(after string, n int) (page []Named, more bool, err error)
	// Sweep forgets records that are idle, as many as it looks at in one go.
	Sweep(idle func(*Record) bool)
	// Flush has what was changed before outlive a crash; an error says that it would
	// not.
	Flush() error
}

// Named is a record as it is shown. It is nil if it cannot be read.
type Named struct {
	Client string
	*Record
}

// What may be wrong with a client's record.
var (
	ErrRecord = errors.New("record of rates is damaged") // it alone
	ErrStore  = errors.New("store of rates is damaged")

	errFault = fmt.Errorf("%w: it was cut short under us", ErrStore)
	errFull  = errors.New("too many records that cannot be written")
	errNone  = errors.New("there is no store of rates")
)
