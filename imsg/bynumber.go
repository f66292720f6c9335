// What is kept of each live session, by lockd and by its worker. This file owns that it
// is found by the session's number, and listed in the order of numbers page by page, with
// no look at those of other pages.

package imsg

import (
	"iter"
	"maps"
	"slices"
)

// ByNumber is something of each live session. It is for one goroutine at a time.
type ByNumber[T any] struct {
	of map[uint64]T
	// order has the numbers of all, and of some that have left: they go when they are
	// more than the others, all at once.
	order []uint64
}

// Of is what there is of a session, the zero value if there is nothing.
func (b *ByNumber[T]) Of(number uint64) T { return b.of[number] }

// Len is of how many there is something.
func (b *ByNumber[T]) Len() int { return len(b.of) }

// Put keeps v of a session. Most have the largest number so far; it may be any.
func (b *ByNumber[T]) Put(number uint64, v T) {
	if b.of == nil {
		b.of = make(map[uint64]T)
	}
	if at, found := slices.BinarySearch(b.order, number); !found {
		b.order = slices.Insert(b.order, at, number)
	}
	b.of[number] = v
}

// Delete keeps nothing of a session.
func (b *ByNumber[T]) Delete(number uint64) {
	delete(b.of, number)
	if len(b.order) > 2*len(b.of)+LivePage {
		b.order = slices.DeleteFunc(b.order, func(n uint64) bool {
			_, live := b.of[n]
			return !live
		})
	}
}

// All goes through all, in any order. What it comes to may be deleted meanwhile.
func (b *ByNumber[T]) All() iter.Seq[T] { return maps.Values(b.of) }

// Above goes through those whose number is above one, in the order of numbers. None may be
// put or deleted meanwhile.
func (b *ByNumber[T]) Above(number uint64) iter.Seq2[uint64, T] {
	return func(yield func(uint64, T) bool) {
		at, found := slices.BinarySearch(b.order, number)
		if found {
			at++
		}
		for _, n := range b.order[at:] {
			if v, live := b.of[n]; live && !yield(n, v) {
				return
			}
		}
	}
}
