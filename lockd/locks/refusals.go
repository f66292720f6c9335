package locks

import (
	"maps"
	"slices"
	"sync"
)

// maxRefusals bounds the locks whose refusals are counted.
const maxRefusals = 1 << 17

// Refusals counts how often clients are turned away for their locks, by the names of
// these. It holds no more than there are locks, but for those whose file somebody else has
// removed: of these it hears when their client comes, or the locks are listed. One that it
// has no room for counts as never turned away.
type Refusals struct {
	mu     sync.Mutex
	counts map[string]uint64
}

// Count notes that the client of this name was turned away.
func (r *Refusals) Count(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = make(map[string]uint64)
	}
	if n := r.counts[name]; n > 0 || len(r.counts) < maxRefusals {
		r.counts[name] = n + 1
	}
}

// Of is how often it was.
func (r *Refusals) Of(name string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[name]
}

// Forget begins anew with a name: it is not locked, or has just been.
func (r *Refusals) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.counts, name)
}

// Keep forgets all that locked does not have.
func (r *Refusals) Keep(locked func(name string) bool) {
	r.mu.Lock()
	names := slices.Collect(maps.Keys(r.counts))
	r.mu.Unlock()
	for _, name := range names { // who counts does not wait for all of them
		if !locked(name) {
			r.Forget(name)
		}
	}
}
