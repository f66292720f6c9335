// What of root's power the parent has to have. This file owns which of it a
// configuration needs on this machine, and what is said of what is missing; the table
// is each system's own.

package site

// Capability is a part of root's power, as capabilities(7) divides it: a row of the
// table.
type Capability struct {
	Name string // CAP_...
	For  string // what the parent does with it: "end a room that hangs"
	When string // it is needed, for the manual

	bit     uint64
	instead uint64                            // one that can do the same, 0: none
	why     func(s *Site, h *Holdings) string // what of a configuration needs it, empty: nothing
}

// serves returns what of a mask does what the capability is for, 0 if nothing does.
func (c *Capability) serves(have uint64) uint64 {
	if have&c.bit != 0 {
		return c.bit
	}
	return have & c.instead
}

// Need is a capability that a site needs, and what of the configuration needs it.
type Need struct {
	*Capability
	Why string
}

// Needs returns what a site needs from here on. h is what has been acquired, nil if
// nothing has; a folder that is there need not be made. Without root it needs nothing:
// whoever starts us so knows what it gives.
func (s *Site) Needs(h *Holdings) (all []Need) {
	if !s.Rooted {
		return nil
	}
	for i := range Capabilities {
		if why := Capabilities[i].why(s, h); why != "" {
			all = append(all, Need{&Capabilities[i], why})
		}
	}
	return all
}

// Missing returns those of some needs that a mask does not serve, and what of the mask
// serves the others.
func Missing(all []Need, have uint64) (missing []Need, serving uint64) {
	for _, n := range all {
		if bits := n.serves(have); bits != 0 {
			serving |= bits
		} else {
			missing = append(missing, n)
		}
	}
	return missing, serving
}
