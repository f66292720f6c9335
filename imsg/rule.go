// What the fields of a message may hold. This file owns the rules' language and that
// each message is held against them, by who says it and by who hears it: a room that
// has been taken over says what it likes, and no receiver can forget to look.
//
// A rule is the tag `rule` of a field. What needs more than the message itself, as
// whose session a number means, is its receiver's to judge. What only the parent says
// has no rules: it has made the room that hears it.
//
//	1..64            a number from 1 to 64; either end may be left out, and may be a name
//	..255 printable  a string of at most 255 octets, all printable ASCII
//	..200 readable   the same, in UTF-8 and of any script (unicode.IsPrint)
//	..32 word        printable ASCII without blanks
//	..MaxLogin login the same, and as Login writes one, or nothing
//	..64 name        the same, and fit for the name of a file: letters, digits, . - _
//	..255 free: why  any octets
//	..4096 lines: why  the same, and more than one line is meant
//	..26 each 1..9   a slice of at most 26, and the rule of each element
//	set              an address that must be there
//	server           an address that must be there, in the one form of a server's
//	any: why         whatever the type can hold
//
// An enumeration needs no rule: its values are those that are known. No float is NaN
// or infinite. An address may be absent or have a zone, which is one word.

package imsg

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxZone is the largest number of octets of a zone: an interface has a name of 15 at
// most (netdevice(7)).
const MaxZone = 15

// bounds are the names that rules call bounds by.
var bounds = map[string]float64{
	"Slots":          float64(Slots),
	"MaxLists":       MaxLists,
	"States":         float64(States),
	"AllRooms":       float64(AllRooms),
	"RateCounters":   float64(RateCounters),
	"LivePage":       LivePage,
	"LockPage":       LockPage,
	"RatePage":       RatePage,
	"LockedPage":     LockedPage,
	"MaxSockets":     MaxSockets,
	"MaxEngines":     MaxEngines,
	"FamilyListens":  FamilyListens,
	"MaxFindings":    MaxEngines + 1, // one for what no engine is asked
	"MaxScore":       MaxScore,
	"MaxReport":      MaxReport,
	"MaxIdent":       MaxIdent,
	"MaxLogin":       MaxLogin,
	"MaxWord":        MaxWord,
	"MaxHeader":      MaxHeader,
	"MaxSender":      MaxSender,
	"MaxSubject":     MaxSubject,
	"EventPage":      EventPage,
	"MaxQuotes":      MaxQuotes,
	"ExplainPage":    ExplainPage,
	"MaxExplained":   MaxExplained,
	"ObservedPage":   ObservedPage,
	"ExemptPage":     ExemptPage,
	"StatusFindings": StatusFindings,

	"MaxTraces":        MaxTraces,
	"MaxTraceSessions": MaxTraceSessions,
	"MaxTrace":         MaxTrace,

	"MaxExemptReason": MaxExemptReason,
	"MaxCertificates": MaxCertificates,
	"ChainParts":      ChainParts,
	"ChainPart":       ChainPart,
	"MaxSigned":       MaxSigned,
	"MaxSignature":    MaxSignature,
	"MaxTicketState":  MaxTicketState,
	"MaxTicket":       MaxTicket,
}

// rule tells what is wrong with a value, nil if nothing is.
type rule func(v reflect.Value) error

// RuleError says which field of a message breaks its rule, and how. It does not repeat
// what the field holds.
type RuleError struct{ error }

// Check holds m, a message of e's type, against its fields' rules. Its errors are
// RuleErrors.
func (e *Entry) Check(m Message) error {
	if e.From == set(Parent) {
		return nil
	}
	keeps, err := e.rules()
	if err == nil {
		err = keeps(reflect.ValueOf(m).Elem())
	}
	if err != nil {
		return RuleError{err}
	}
	return nil
}

// rulesOf reads the rules of a type of message when they are first needed.
func rulesOf(t reflect.Type) func() (rule, error) {
	return sync.OnceValues(func() (rule, error) { return structRule(t) })
}

func allowed(reflect.Value) error { return nil }

// structRule is the rule of a struct: that of each of its fields.
func structRule(t reflect.Type) (rule, error) {
	type field struct {
		name  string
		keeps rule
	}
	var fields []field
	for f := range t.Fields() {
		keeps, err := ruleOf(f.Type, f.Tag.Get("rule"))
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Name(), f.Name, err)
		}
		fields = append(fields, field{f.Name, keeps})
	}
	return func(v reflect.Value) error {
		for i := range fields {
			if err := fields[i].keeps(v.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", fields[i].name, err)
			}
		}
		return nil
	}, nil
}

var (
	errNoRule  = errors.New("it has no rule")
	errUnknown = errors.New("a value nobody knows")
	errRange   = errors.New("out of range")
	errLength  = errors.New("too long or too short")
	errOctets  = errors.New("octets it may not have")
	errZone    = errors.New("a zone that names no interface")
	errAbsent  = errors.New("no address")
	errServer  = errors.New("no server can be called there")
)

// ruleOf reads the rule of a field of type t.
func ruleOf(t reflect.Type, text string) (rule, error) {
	if t.Kind() == reflect.Slice {
		return sliceRule(t, text)
	}
	text, why, explained := strings.Cut(text, ": ")
	if explained && why == "" {
		return nil, errors.New("its rule does not say why")
	}
	if text == "any" {
		if !explained {
			return nil, errors.New("its rule does not say why")
		}
		return allowed, nil
	}
	switch {
	case t == reflect.TypeFor[netip.AddrPort](), t == reflect.TypeFor[netip.Addr]():
		return addressRule(text)
	case reflect.PointerTo(t).Implements(reflect.TypeFor[enumeration]()):
		within, err := numberRule(t, text)
		if text == "" {
			within, err = allowed, nil
		}
		return func(v reflect.Value) error {
			if !v.Addr().Interface().(enumeration).known() {
				return errUnknown
			}
			return within(v)
		}, err
	}
	switch t.Kind() {
	case reflect.Bool:
		return allowed, nil
	case reflect.Struct:
		return structRule(t)
	case reflect.String:
		return stringRule(text, explained)
	}
	return numberRule(t, text)
}

// parseRange reads LO..HI.
func parseRange(t reflect.Type, text string) (low, high float64, err error) {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return 0, 0, errNoRule
	}
	low, high = math.Inf(-1), math.Inf(1)
	if from != "" {
		low, err = bound(t, from)
	}
	if to != "" && err == nil {
		high, err = bound(t, to)
	}
	return low, high, err
}

func bound(t reflect.Type, text string) (float64, error) {
	name, negative := strings.CutPrefix(text, "-")
	if n, ok := bounds[name]; ok {
		if negative {
			return -n, nil
		}
		return n, nil
	}
	if t == reflect.TypeFor[time.Duration]() && text != "0" {
		d, err := time.ParseDuration(text)
		return float64(d), err
	}
	return strconv.ParseFloat(text, 64)
}

// numberRule compares as floats: bounds are round, and far from where that is coarse.
func numberRule(t reflect.Type, text string) (rule, error) {
	low, high, err := parseRange(t, text)
	return func(v reflect.Value) error {
		var n float64
		switch {
		case v.CanInt():
			n = float64(v.Int())
		case v.CanUint():
			n = float64(v.Uint())
		default:
			n = v.Float()
			if math.IsInf(n, 0) {
				return errRange
			}
		}
		if n >= low && n <= high { // false for what is no number
			return nil
		}
		return errRange
	}, err
}

func sliceRule(t reflect.Type, text string) (rule, error) {
	size, of, _ := strings.Cut(text, " each ")
	low, high, err := parseRange(reflect.TypeFor[int](), size)
	if err != nil {
		return nil, err
	}
	keeps, err := ruleOf(t.Elem(), of)
	return func(v reflect.Value) error {
		if n := float64(v.Len()); n < low || n > high {
			return errLength
		}
		for i := range v.Len() {
			if err := keeps(v.Index(i)); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	}, err
}

// alphabets are what strings may be made of.
var alphabets = map[string]func(c rune) bool{
	"printable": func(c rune) bool { return c >= ' ' && c <= '~' },
	"readable":  isReadable,
	"word":      isGraphic,
	"name": func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '.' || c == '-' || c == '_'
	},
	"login": isGraphic,
	"free":  anyOctet,
	"lines": anyOctet,
}

func anyOctet(rune) bool { return true }

func isGraphic(c rune) bool { return c > ' ' && c <= '~' }

func stringRule(text string, explained bool) (rule, error) {
	size, of, _ := strings.Cut(text, " ")
	may, known := alphabets[of]
	low, high, err := parseRange(reflect.TypeFor[int](), size)
	switch {
	case err != nil:
		return nil, err
	case !known || (of == "free" || of == "lines") != explained || math.IsInf(high, 1):
		return nil, errNoRule
	}
	name, login := of == "name", of == "login"
	return func(v reflect.Value) error {
		s := v.String()
		if n := float64(len(s)); n < low || n > high {
			return errLength
		}
		for _, c := range s {
			if !may(c) {
				return errOctets
			}
		}
		if name && strings.HasPrefix(s, ".") || login && s != "" && !IsLogin(s) {
			return errOctets
		}
		return nil
	}, nil
}

func addressRule(text string) (rule, error) {
	must, server := text == "set" || text == "server", text == "server"
	if text != "" && !must {
		return nil, errNoRule
	}
	return func(v reflect.Value) error {
		var a netip.Addr
		port := uint16(1)
		switch p := v.Addr().Interface().(type) {
		case *netip.Addr:
			a = *p
		case *netip.AddrPort:
			a, port = p.Addr(), p.Port()
		}
		switch {
		case !a.IsValid() && must:
			return errAbsent
		case server && (a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || port == 0):
			return errServer
		case len(a.Zone()) > MaxZone:
			return errZone
		}
		for _, c := range a.Zone() {
			if !isGraphic(c) {
				return errZone
			}
		}
		return nil
	}, nil
}
