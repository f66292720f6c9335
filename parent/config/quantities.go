// Kinds of values that have a unit: sizes and durations. The legacy syntax gives
// octets and seconds as bare numbers; this file owns the units of TOML.

package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units of sizes, largest first of each family: that is how sizes are written.
var units = []struct {
	name   string
	octets int64
}{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// size is a number of octets; TOML may add a unit.
func size(name string, least int64) kind[int64] {
	k := integer[int64](name, least, math.MaxInt64)
	k.accepts = spanned("octets", least, math.MaxInt64)
	k.acceptsTOML = k.accepts + `, or a string like "10 MB" or "512 KiB"`
	number := k.decode
	k.decode = func(data any) (int64, error) {
		text, ok := data.(string)
		if !ok {
			return number(data)
		}
		unit := strings.TrimLeft(text, "0123456789")
		n, err := strconv.ParseInt(text[:len(text)-len(unit)], 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return 0, fmt.Errorf("%s is out of range", quoted(text))
		}
		unit = strings.TrimLeft(unit, blanks)
		if err != nil || unit == "" {
			return 0, fmt.Errorf("%s is not a size", quoted(text))
		}
		for _, u := range units {
			if !strings.EqualFold(u.name, unit) {
				continue
			}
			if n > math.MaxInt64/u.octets || n*u.octets < least {
				return 0, fmt.Errorf("%s is out of range", quoted(text))
			}
			return n * u.octets, nil
		}
		return 0, fmt.Errorf("%s is no unit of size", quoted(unit))
	}
	k.toml = func(v int64) string {
		for _, u := range units {
			if v >= 10*1000 && v%u.octets == 0 && u.octets > 1 {
				return fmt.Sprintf(`"%d %s"`, v/u.octets, u.name)
			}
		}
		return strconv.FormatInt(v, 10)
	}
	return k
}

// seconds is a duration of whole seconds, least or more; TOML may add units.
func seconds(name string, least int64) kind[time.Duration] {
	const most = math.MaxUint32
	check := func(n int64) (time.Duration, error) {
		if n < least || n > most {
			return 0, fmt.Errorf("%d seconds are out of range", n)
		}
		return time.Duration(n) * time.Second, nil
	}
	accepts := spanned("seconds", least, most)
	return kind[time.Duration]{
		name:        name,
		accepts:     accepts,
		acceptsTOML: accepts + `, or a string like "30s", "5m" or "1h"`,
		parse: func(text string) (time.Duration, string, error) {
			n, remark, err := whole(text, least, most)
			return time.Duration(n) * time.Second, remark, err
		},
		text: func(v time.Duration) string { return strconv.FormatInt(int64(v/time.Second), 10) },
		decode: func(data any) (time.Duration, error) {
			switch data := data.(type) {
			case int64:
				return check(data)
			case string:
				d, err := time.ParseDuration(data)
				if err != nil {
					return 0, fmt.Errorf("%s is not a duration", quoted(data))
				}
				if d%time.Second != 0 {
					return 0, fmt.Errorf("%s is not a number of whole seconds", quoted(data))
				}
				return check(int64(d / time.Second))
			}
			return 0, fmt.Errorf("%s is not a duration", saw(data))
		},
		toml: func(v time.Duration) string {
			switch {
			case v <= 0:
				return strconv.FormatInt(int64(v/time.Second), 10)
			case v%time.Hour == 0:
				return fmt.Sprintf(`"%dh"`, v/time.Hour)
			case v%time.Minute == 0:
				return fmt.Sprintf(`"%dm"`, v/time.Minute)
			}
			return fmt.Sprintf(`"%ds"`, v/time.Second)
		},
	}
}
