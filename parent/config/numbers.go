// Kinds of values that are bare numbers: integers, load averages, permissions
// and switches. This file owns how the old files wrote them.

package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// leading splits text as strtol(3) in base 0 reads it: blanks are gone already,
// a sign, 0x for hexadecimal or 0 for octal, and whatever stands behind.
func leading(text string) (n int64, rest string, err error) {
	digits := text
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	base, set := 10, "0123456789"
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' && strings.ContainsRune("0123456789abcdefABCDEF", rune(digits[2])) {
		base, set, digits = 16, "0123456789abcdefABCDEF", digits[2:]
	} else if strings.HasPrefix(digits, "0") {
		base, set = 8, "01234567"
	}
	rest = strings.TrimLeft(digits, set)
	digits = digits[:len(digits)-len(rest)]
	if digits == "" {
		return 0, text, fmt.Errorf("%s is not a number", quoted(text))
	}
	if negative {
		digits = "-" + digits
	}
	n, err = strconv.ParseInt(digits, base, 64)
	if err != nil {
		return 0, rest, fmt.Errorf("%s is out of range", quoted(text))
	}
	return n, rest, nil
}

// whole reads a whole number and words the warning for what stands behind it.
func whole(text string, least, most int64) (int64, string, error) {
	n, rest, err := leading(text)
	if err != nil {
		return 0, "", err
	}
	if n < least || n > most {
		return 0, "", fmt.Errorf("%s is out of range", quoted(text))
	}
	if rest != "" {
		return n, ignored(text, strconv.FormatInt(n, 10)), nil
	}
	return n, "", nil
}

// ignored words the warning for a value of which only the beginning counts.
func ignored(text, read string) string {
	return fmt.Sprintf("%s is read as %s, what stands behind the number is ignored", quoted(text), read)
}

func spanned(what string, least, most int64) string {
	if most >= math.MaxInt32 {
		return fmt.Sprintf("%s, %d or more", what, least)
	}
	return fmt.Sprintf("%s from %d to %d", what, least, most)
}

// integer is a whole number from least to most.
func integer[T ~int | ~int64 | ~uint16 | ~uint32](name string, least, most int64) kind[T] {
	text := func(v T) string { return strconv.FormatInt(int64(v), 10) }
	return kind[T]{
		name:    name,
		accepts: spanned("a whole number", least, most),
		parse: func(text string) (T, string, error) {
			n, remark, err := whole(text, least, most)
			return T(n), remark, err
		},
		text: text,
		decode: func(data any) (T, error) {
			n, ok := data.(int64)
			if !ok {
				return 0, fmt.Errorf("%s is not a whole number", saw(data))
			}
			if n < least || n > most {
				return 0, fmt.Errorf("%d is out of range", n)
			}
			return T(n), nil
		},
		toml: text,
	}
}

func count(least int64) kind[int]        { return integer[int]("UINT", least, math.MaxInt32) }
func quota() kind[int64]                 { return integer[int64]("UINT", 0, math.MaxInt64) }
func port(least int64) kind[uint16]      { return integer[uint16]("PORT", least, math.MaxUint16) }
func within(least, most int64) kind[int] { return integer[int]("INT", least, most) }

// ports is any number of them, in TOML as numbers.
func ports() kind[[]uint16] {
	each := port(1)
	k := listed("PORT", "ports", func(word string) (uint16, error) {
		n, remark, err := each.parse(word)
		if err == nil && remark != "" {
			err = fmt.Errorf("%s is not a number", quoted(word))
		}
		return n, err
	}, each.text)
	k.decode = func(data any) (all []uint16, err error) {
		list, ok := data.([]any)
		if !ok {
			return nil, fmt.Errorf("%s is not a list of numbers", saw(data))
		}
		for _, e := range list {
			n, err := each.decode(e)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
		return all, nil
	}
	k.toml = func(all []uint16) string { return "[" + strings.ReplaceAll(k.text(all), ",", ", ") + "]" }
	return k
}

// float is a decimal number. It is kept to the six digits that %f prints, so
// that what is printed is what is in force.
func float(least, most float64) kind[float64] {
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', 6, 64) }
	check := func(v float64) (float64, error) {
		if !(v >= least && v <= most) {
			return 0, fmt.Errorf("%g is out of range", v)
		}
		v, err := strconv.ParseFloat(text(v), 64)
		return v + 0, err // turns -0 into 0
	}
	return kind[float64]{
		name:    "FLOAT",
		accepts: fmt.Sprintf("a number from %.0f to %.0f", least, most),
		parse: func(text string) (float64, string, error) {
			v, digits, err := leadingFloat(text)
			if err != nil {
				return 0, "", err
			}
			if v, err = check(v); err != nil {
				return 0, "", err
			}
			if digits != text {
				return v, ignored(text, digits), nil
			}
			return v, "", nil
		},
		text: text,
		decode: func(data any) (float64, error) {
			switch data := data.(type) {
			case int64:
				return check(float64(data))
			case float64:
				return check(data)
			}
			return 0, fmt.Errorf("%s is not a number", saw(data))
		},
		toml: func(v float64) string {
			text := strconv.FormatFloat(v, 'f', -1, 64)
			if !strings.Contains(text, ".") {
				text += ".0"
			}
			return text
		},
	}
}

// leadingFloat returns the longest beginning of text that is a decimal number.
func leadingFloat(text string) (v float64, digits string, err error) {
	digits = text[:len(text)-len(strings.TrimLeft(text, "0123456789+-.eE"))]
	for ; digits != ""; digits = digits[:len(digits)-1] {
		if v, err = strconv.ParseFloat(digits, 64); err == nil || errors.Is(err, strconv.ErrRange) {
			return v, digits, nil
		}
	}
	return 0, "", fmt.Errorf("%s is not a number", quoted(text))
}

// permissions are octal. The old syntax needs the leading 0 for that: without
// it the number is decimal, which hardly anybody means.
func permissions() kind[uint32] {
	const most = 0o7777
	text := func(v uint32) string { return fmt.Sprintf("%#o", v) }
	return kind[uint32]{
		name:        "OCT",
		accepts:     "permissions in octal with a leading 0, like 0660",
		acceptsTOML: `a string of octal digits with a leading 0, like "0660"`,
		parse: func(value string) (uint32, string, error) {
			n, remark, err := whole(value, 0, most)
			switch {
			case err != nil:
				return 0, "", err
			case value[0] == '0' && remark != "":
				remark = ignored(value, text(uint32(n)))
			case value[0] != '0':
				remark = fmt.Sprintf("%s is decimal and means %s, octal needs a leading 0", quoted(value), text(uint32(n)))
			}
			return uint32(n), remark, nil
		},
		text: text,
		decode: func(data any) (uint32, error) {
			// A TOML integer does not tell 0o660 from 432.
			digits, ok := data.(string)
			if !ok {
				return 0, fmt.Errorf("%s is not a string", saw(data))
			}
			n, err := strconv.ParseUint(digits, 8, 32)
			if err != nil || n > most || digits[0] != '0' {
				return 0, fmt.Errorf("%s are no octal permissions", quoted(digits))
			}
			return uint32(n), nil
		},
		toml: func(v uint32) string { return `"` + text(v) + `"` },
	}
}

// boolean is a switch.
func boolean() kind[bool] {
	return kind[bool]{
		name:        "BOOL",
		accepts:     "yes or no",
		acceptsTOML: "true or false",
		parse: func(text string) (bool, string, error) {
			switch strings.ToLower(text) {
			case "1", "yes", "on", "true":
				return true, "", nil
			case "0", "no", "off", "false":
				return false, "", nil
			}
			return false, "", fmt.Errorf("%s is neither", quoted(text))
		},
		text: func(v bool) string {
			if v {
				return "yes"
			}
			return "no"
		},
		decode: func(data any) (bool, error) {
			v, ok := data.(bool)
			if !ok {
				return false, fmt.Errorf("%s is neither", saw(data))
			}
			return v, nil
		},
		toml: strconv.FormatBool,
	}
}
