// What a regular expression may be. This file owns the judgement when the file
// is read; the session rooms match with the same engines (session/regex), which
// the parent may not import: there lies what is for hostile texts.

package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

func regex() kind[string] {
	return texts("REGEX", "a Perl-compatible regular expression", func(pattern string) error {
		if _, err := regexp.Compile(pattern); err == nil {
			return nil
		}
		if err := perlOnly(pattern); err != nil {
			return err
		}
		if _, err := regexp2.Compile(pattern, regexp2.RE2); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return nil
	})
}

// escapes are the letters that mean the same behind a backslash to Perl and to
// the engine that knows what only Perl has. It takes any other for itself, so
// that \R would match an R, and no HELO that should be refused.
const escapes = "aAbBcdDefGknpPQrsStvwWxzZ"

// perlOnly refuses what that engine would silently read in a way that is not Perl's.
func perlOnly(pattern string) error {
	class := false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			c := rest[1]
			if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; letter && !strings.Contains(escapes, string(c)) {
				return fmt.Errorf(`\%c is not supported`, c)
			}
			i++
			if c == 'Q' {
				literal, _, ended := strings.Cut(rest, `\E`)
				i += len(literal) - 2
				if ended {
					i += 2
				}
			}
		case class && rest[0] == '[' && len(rest) > 1 && rest[1] == ':':
			if name, _, ok := strings.Cut(rest, ":]"); ok {
				i += len(name) + 1
			}
		case class && strings.HasPrefix(rest, "-["):
			return errors.New(`-[ in a class is not supported, write -\[`)
		case class:
			class = rest[0] != ']'
		case rest[0] == '[':
			class = true
			// What comes first is no end.
			if strings.HasPrefix(rest[1:], "^") {
				i++
			}
			if strings.HasPrefix(pattern[i+1:], "]") {
				i++
			}
		case strings.HasPrefix(rest, "(?(") && !condition(rest[3:]):
			return errors.New("a condition can only be the number of a group, or lookaround")
		}
	}
	return nil
}

// condition tells whether what follows "(?(" is one that is read as Perl does.
func condition(rest string) bool {
	number := strings.TrimLeft(rest, "0123456789")
	if len(number) < len(rest) {
		return strings.HasPrefix(number, ")")
	}
	for _, look := range []string{"?=", "?!", "?<=", "?<!"} {
		if strings.HasPrefix(rest, look) {
			return true
		}
	}
	return false
}
