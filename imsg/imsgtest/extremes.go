// What a room may say that nobody has written it to say. This file owns honest messages
// and the values that somebody may mean harm with.

package imsgtest

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strings"
)

// Honest gives every field of a message a value that its rule allows.
func Honest(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		switch p := v.Addr().Interface().(type) {
		case *netip.Addr:
			*p = netip.MustParseAddr("2001:db8::25")
			return
		case *netip.AddrPort:
			*p = netip.MustParseAddrPort("203.0.113.7:51234")
			return
		case *netip.Prefix:
			*p = netip.MustParsePrefix("2001:db8::/32")
			return
		}
		for _, field := range v.Fields() {
			Honest(field)
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			Honest(v.Index(i))
		}
	case reflect.String:
		v.SetString("name")
	case reflect.Bool:
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}

// Each goes through all values of a message, slices and their elements apart, with
// its place and its rule.
func Each(v reflect.Value, at, rule string, f func(at, rule string, v reflect.Value)) {
	if v.Kind() == reflect.Struct && strings.HasSuffix(v.Type().PkgPath(), "/imsg") {
		for i := range v.NumField() {
			t := v.Type().Field(i)
			Each(v.Field(i), at+"."+t.Name, t.Tag.Get("rule"), f)
		}
		return
	}
	f(at, rule, v)
	if v.Kind() == reflect.Slice {
		_, of, _ := strings.Cut(rule, " each ")
		for i := range v.Len() {
			Each(v.Index(i), fmt.Sprintf("%s[%d]", at, i), of, f)
		}
	}
}

// Extremes are the values of a type that somebody may mean harm with.
func Extremes(t reflect.Type) (list []reflect.Value) {
	add := func(values ...any) {
		for _, x := range values {
			list = append(list, reflect.ValueOf(x).Convert(t))
		}
	}
	switch t {
	case reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[netip.Addr]():
		for _, a := range []netip.Addr{
			{},
			netip.IPv4Unspecified(), netip.IPv6Unspecified(), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("224.0.0.1"),
			netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::1%a\r\nX-Spam: no"), netip.MustParseAddr("fe80::1%\x00"),
			netip.MustParseAddr("fe80::1%\xff"), netip.MustParseAddr("fe80::1%" + strings.Repeat("z", 200)), netip.MustParseAddr("fe80::1%" + strings.Repeat("z", 5000)), netip.MustParseAddr("fe80::1%a b"),
		} {
			if t == reflect.TypeFor[netip.Addr]() {
				list = append(list, reflect.ValueOf(a))
			} else {
				list = append(list, reflect.ValueOf(netip.AddrPortFrom(a, 0)), reflect.ValueOf(netip.AddrPortFrom(a, 65535)))
			}
		}
		return list
	}
	switch t.Kind() {
	case reflect.String:
		add("", "a\r\nb", "\x00", "\x1b[2J", "\x7f", "\x80\xff", "\u0085", "\u202e", "a b", "../../etc/passwd", "..", "%s%n", strings.Repeat("x", 5000))
	case reflect.Float64:
		add(math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64)
	case reflect.Slice:
		for _, n := range []int{0, 1 << 10, 1<<10 + 1, 1 << 12} {
			long := reflect.MakeSlice(t, n, n)
			for i := range n {
				Honest(long.Index(i))
			}
			list = append(list, long)
		}
	case reflect.Int, reflect.Int64:
		add(int64(math.MinInt64), -2, -1, 0, int64(math.MaxInt64))
	case reflect.Uint8:
		for n := range 256 {
			add(n)
		}
	case reflect.Uint16:
		add(0, math.MaxUint16, 1<<8)
	case reflect.Uint64:
		add(uint64(0), uint64(math.MaxInt64), uint64(math.MaxUint64))
	}
	return list
}
