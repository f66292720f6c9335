package history

import "net/netip"

// This file owns which slot a record gets: the next one around, but for a client that has
// its share, whose oldest makes way.

// places are the slots, by whom they belong to.
type places struct {
	owners []netip.Addr         // of each slot that was ever used; invalid: nobody
	turns  []uint64             // how often each was given to a record
	slots  map[netip.Addr][]int // of each client, oldest first
	at     int                  // the next one around
	max    int
}

// reset forgets whom slots belong to.
func (p *places) reset(n int) {
	*p = places{slots: make(map[netip.Addr][]int), max: n}
}

// share is how many slots one client may have.
func (p *places) share() int { return max(1, p.max/100) }

// keeps tells whether the record that was given a slot at that turn still has it.
func (p *places) keeps(slot int, turn uint64) bool {
	return slot >= 0 && slot < len(p.turns) && p.turns[slot] == turn
}

// next gives a record of a client's a slot, and says the how manieth has it so.
func (p *places) next(client netip.Addr) (slot int, turn uint64) {
	slot = p.choose(client)
	p.turns[slot]++
	return slot, p.turns[slot]
}

func (p *places) choose(client netip.Addr) int {
	if mine := p.slots[client]; len(mine) >= p.share() {
		slot := mine[0]
		copy(mine, mine[1:])
		mine[len(mine)-1] = slot
		return slot
	}
	slot := p.at
	p.at = (p.at + 1) % p.max
	p.give(slot, client)
	return slot
}

// give has a slot belong to a client, and to nobody else.
func (p *places) give(slot int, client netip.Addr) {
	for len(p.owners) <= slot {
		p.owners, p.turns = append(p.owners, netip.Addr{}), append(p.turns, 0)
	}
	if was := p.owners[slot]; was.IsValid() {
		mine := p.slots[was]
		for i := range mine {
			if mine[i] == slot {
				mine = append(mine[:i], mine[i+1:]...)
				break
			}
		}
		if p.slots[was] = mine; len(mine) == 0 {
			delete(p.slots, was)
		}
	}
	p.owners[slot] = client
	if client.IsValid() {
		p.slots[client] = append(p.slots[client], slot)
	}
}
