// Kind of value that is DNS block lists. This file owns which answers a list may
// be wanted for.

package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// blockLists are names of zones, each perhaps with the answers that count.
func blockLists() kind[[]imsg.BlockList] {
	accepts := fmt.Sprintf("up to %d names of DNS zones, each alone or with the answers that list, as in zone=127.0.0.[2;4..11]", imsg.MaxLists)
	return kind[[]imsg.BlockList]{
		name:        "ZONE [MULTI]",
		accepts:     accepts + ", joined by commas",
		acceptsTOML: "a list of " + accepts,
		multi:       true,
		parse: func(text string) (all []imsg.BlockList, _ string, err error) {
			words := list(text)
			if len(words) > imsg.MaxLists {
				return nil, "", fmt.Errorf("%d zones are too many", len(words))
			}
			for _, word := range words {
				zone, codes, filtered := strings.Cut(word, "=")
				if !domain(zone) {
					return nil, "", fmt.Errorf("%s is no name of a DNS zone", quoted(zone))
				}
				l := imsg.BlockList{Zone: zone}
				if filtered {
					if l.Codes, err = parseCodes(codes); err != nil {
						return nil, "", err
					}
				}
				all = append(all, l)
			}
			return all, "", nil
		},
		text: func(all []imsg.BlockList) string {
			var words []string
			for _, l := range all {
				words = append(words, l.String())
			}
			return strings.Join(words, ",")
		},
	}
}

// domain tells whether name can be asked for below a reversed IPv6 address,
// which takes 64 of the 253 octets of RFC 1035 section 2.3.4.
func domain(name string) bool {
	if len(name) > 253-64 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

// parseCodes reads a pattern of addresses as postscreen_dnsbl_sites of postconf(5)
// has it: each of its four octets is a number, or numbers and ranges in brackets.
func parseCodes(text string) (codes [][]imsg.Octets, err error) {
	for rest, more := text, true; more; {
		var set string
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			if set, rest, ok = strings.Cut(inner, "]"); !ok || rest != "" && rest[0] != '.' {
				return nil, fmt.Errorf("%s is no pattern of answers", quoted(text))
			}
			_, rest, more = strings.Cut(rest, ".")
		} else if set, rest, more = strings.Cut(rest, "."); strings.Contains(set, ";") {
			return nil, fmt.Errorf("%s is no pattern of answers", quoted(text))
		}
		octets, err := parseOctets(set)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", quoted(set), quoted(text), err)
		}
		codes = append(codes, octets)
	}
	switch {
	case len(codes) != 4:
		return nil, fmt.Errorf("%s is no pattern of answers: it has %d octets", quoted(text), len(codes))
	case !inside(codes[0], 127, 127):
		return nil, fmt.Errorf("%s matches answers outside 127.0.0.0/8, where no list has its entries", quoted(text))
	case inside(codes[1], 0, 0) && inside(codes[2], 0, 0) && inside(codes[3], 0, 1), inside(codes[1], 255, 255) && inside(codes[2], 255, 255):
		return nil, fmt.Errorf("%s matches only answers that never list: 127.0.0.0, 127.0.0.1 and 127.255.255.0/24", quoted(text))
	}
	return codes, nil
}

// parseOctets reads numbers and ranges joined by semicolons.
func parseOctets(text string) (set []imsg.Octets, err error) {
	for word := range strings.SplitSeq(text, ";") {
		first, last, ranged := strings.Cut(word, "..")
		if !ranged {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 8)
		to, err2 := strconv.ParseUint(last, 10, 8)
		switch {
		case err1 != nil || err2 != nil:
			return nil, errors.New("is neither a number from 0 to 255 nor a range of them")
		case from > to:
			return nil, errors.New("is a range that ends before it begins")
		}
		set = append(set, imsg.Octets{First: uint8(from), Last: uint8(to)})
	}
	return set, nil
}

// inside tells whether all of a set is from first to last.
func inside(set []imsg.Octets, first, last uint8) bool {
	for _, o := range set {
		if o.First < first || o.Last > last {
			return false
		}
	}
	return true
}
