package imsg

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestByNumber: whatever comes and goes, and in whatever order, what is kept is what a map
// would keep, its order is that of the numbers, and it grows by no more than what is kept.
func TestByNumber(t *testing.T) {
	const numbers = 3 * LivePage
	r := rand.New(rand.NewPCG(1, 2))
	var b ByNumber[int]
	want := make(map[uint64]int)
	for i := range 100_000 {
		// At times more come than go, at times it is the other way round.
		n := r.Uint64N(numbers)
		if r.IntN(10) < 2+i/10_000%2*6 {
			b.Put(n, i)
			want[n] = i
		} else {
			b.Delete(n)
			delete(want, n)
		}
		if b.Len() != len(want) || b.Of(n) != want[n] {
			t.Fatalf("%d: %d kept, want %d; %d is %d, want %d", i, b.Len(), len(want), n, b.Of(n), want[n])
		}
		if len(b.order) > 2*len(want)+LivePage {
			t.Fatalf("%d: order of %d for %d", i, len(b.order), len(want))
		}
		if i%100 != 0 {
			continue
		}
		if all := slices.Sorted(b.All()); !slices.Equal(all, slices.Sorted(maps.Values(want))) {
			t.Fatalf("%d: all are %d", i, all)
		}
		above := r.Uint64N(numbers)
		var got []uint64
		for n, v := range b.Above(above) {
			if got = append(got, n); v != want[n] {
				t.Fatalf("%d: %d is %d, want %d", i, n, v, want[n])
			}
			if len(got) == LivePage {
				break
			}
		}
		rest := slices.Sorted(maps.Keys(want))
		at, found := slices.BinarySearch(rest, above)
		if found {
			at++
		}
		if rest = rest[at:min(len(rest), at+LivePage)]; !slices.Equal(got, rest) {
			t.Fatalf("%d: above %d are %d, want %d", i, above, got, rest)
		}
	}
}
