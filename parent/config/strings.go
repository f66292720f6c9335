// Kinds of values that are text, names and paths. This file owns what may stand
// in them: none can end a line, be it of a reply, a header or a log.

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is more than any text here needs; PATH_MAX is as large at most.
const longest = 4096

// sound refuses what would do harm wherever a text may go.
func sound(text string) error {
	if len(text) > longest {
		return fmt.Errorf("is longer than %d octets", longest)
	}
	if !utf8.ValidString(text) {
		return errors.New("is not UTF-8")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return errors.New("contains a control character")
	}
	return nil
}

// texts makes a kind of sound strings that pass check as well.
func texts(name, accepts string, check func(string) error) kind[string] {
	return kind[string]{
		name:    name,
		accepts: accepts,
		parse: func(text string) (string, string, error) {
			err := sound(text)
			if err == nil {
				err = check(text)
			}
			return text, "", err
		},
		text: func(v string) string { return v },
	}
}

func anything(string) error { return nil }

func line() kind[string] { return texts("STRING", "text of one line, in UTF-8", anything) }

// message is a text of ours for clients. Old files may be in any 8-bit code,
// and a reply in an unknown one helps nobody.
func message() kind[string] {
	k := line()
	parse := k.parse
	k.parse = func(text string) (string, string, error) {
		if utf8.ValidString(text) {
			return parse(text)
		}
		text, _, err := parse(strings.ToValidUTF8(text, "?"))
		return text, `is not UTF-8, "?" stands for what cannot be read`, err
	}
	return k
}

// headerName is the name of a header field, RFC 5322 section 2.2, but no
// number: nat_header with a number means something else to the old syntax.
func headerName() kind[string] {
	return texts("STRING", "the name of a header field, without colon", func(text string) error {
		if strings.Trim(text, "0123456789") == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return fmt.Errorf("%s is no name of a header field", quoted(text))
		}
		return nil
	})
}

func absolute(text string) error {
	if text[0] != '/' {
		return fmt.Errorf("%s is not an absolute path", quoted(text))
	}
	return nil
}

func file() kind[string] { return texts("FILE", "an absolute path", absolute) }
func path() kind[string] { return texts("PATH", "an absolute path", absolute) }

func unused(name string) kind[string] { return texts(name, "anything", anything) }

func account(name string) kind[string] {
	return texts(name, "a name out of the system's data base", func(text string) error {
		if strings.ContainsAny(text, ": \t/,") || text[0] == '-' {
			return fmt.Errorf("%s is no name of a user or group", quoted(text))
		}
		return nil
	})
}

// hostName is one as TLS asks for it, RFC 6066 section 3: no dot at the end, no address.
func hostName() kind[string] {
	return texts("HOST", "a DNS name, without a dot at its end", func(text string) error {
		if _, err := netip.ParseAddr(text); err == nil || !domain(text) || strings.HasSuffix(text, ".") {
			return fmt.Errorf("%s is no host name", quoted(text))
		}
		return nil
	})
}

func logTarget() kind[string] {
	return texts("STRING", "auto, stderr, syslog, journal or the absolute path of a file", func(text string) error {
		switch text {
		case "auto", "stderr", "syslog", "journal":
			return nil
		}
		return absolute(text)
	})
}

// quoteTOML writes a sound text: literally if that saves escaping, as in a regular expression.
func quoteTOML(text string) string {
	if strings.ContainsAny(text, `\"`) && !strings.ContainsAny(text, "'\t") && strconv.CanBackquote(strings.ReplaceAll(text, "`", "")) {
		return "'" + text + "'"
	}
	// The escapes of Go that TOML lacks are those of octets no sound text has.
	return strconv.Quote(text)
}
