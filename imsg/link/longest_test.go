package link

import (
	"math"
	"net/netip"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/imsgtest"
)

// TestLongest: as long as the rules let a page be, it fits its message. One that does not
// would be kept from its receiver by whoever names himself at length.
func TestLongest(t *testing.T) {
	for _, m := range []imsg.Message{
		new(imsg.Announce), new(imsg.Live), new(imsg.SessionList), new(imsg.Events), new(imsg.EventList),
		new(imsg.LockList), new(imsg.RateList), new(imsg.ExemptionList), new(imsg.Run), new(imsg.LoginTaken),
	} {
		e := imsg.Row(m)
		grow(reflect.ValueOf(m).Elem(), func() bool { return e.Check(m) == nil })
		c, wide := codecs.New().(*codec), *e
		wide.Max = math.MaxInt
		frame, err := c.encode(&wide, m, 0)
		if err != nil {
			t.Fatal(e.Name, err)
		}
		n := len(frame) - headerLen
		t.Logf("%s: %d of %d octets", e.Name, n, e.Max)
		if n > e.Max {
			t.Errorf("%s: %d octets, at most %d can be sent", e.Name, n, e.Max)
		}
	}
}

// grow makes a value as long as passes lets it be.
func grow(v reflect.Value, passes func() bool) {
	most := func(n int, set func(n int)) {
		set(sort.Search(n, func(n int) bool { set(n + 1); return !passes() }))
	}
	try := func(values ...any) {
		before := reflect.New(v.Type()).Elem()
		before.Set(v)
		for _, x := range values {
			v.Set(reflect.ValueOf(x).Convert(v.Type()))
			if passes() {
				return
			}
			v.Set(before)
		}
	}
	switch p := v.Addr().Interface().(type) {
	case *netip.AddrPort:
		a := netip.MustParseAddr("fe80::1%" + strings.Repeat("z", imsg.MaxZone))
		try(netip.AddrPortFrom(a, 25), netip.AddrPortFrom(a.WithZone(""), 25))
		return
	case *netip.Addr:
		try(netip.MustParseAddr("fe80::1%" + strings.Repeat("z", imsg.MaxZone)))
		return
	case *netip.Prefix:
		return
	default:
		_ = p
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			grow(f, passes)
		}
	case reflect.Slice:
		one := reflect.MakeSlice(v.Type(), 1, 1)
		imsgtest.Honest(one.Index(0))
		v.Set(one)
		grow(v.Index(0), passes)
		element := v.Index(0)
		most(1<<10, func(n int) {
			s := reflect.MakeSlice(v.Type(), n, n)
			for i := range n {
				s.Index(i).Set(element)
			}
			v.Set(s)
		})
	case reflect.String:
		most(1<<13, func(n int) { v.SetString(strings.Repeat("a", n)) })
	case reflect.Int, reflect.Int64:
		try(int64(math.MaxInt64), int64(1e15), int64(87600*3600*1e9), int64(1<<31), int64(255))
	case reflect.Uint64:
		try(uint64(math.MaxUint64), uint64(1e18), uint64(1e15), uint64(1<<31), uint64(255))
	case reflect.Float64:
		try(1e5 + 0.1)
	case reflect.Bool:
		v.SetBool(true)
		if !passes() {
			v.SetBool(false)
		}
	}
}
