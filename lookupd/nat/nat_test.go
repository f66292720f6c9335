package nat

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	client4 = netip.MustParseAddrPort("192.0.2.10:49152")
	local4  = netip.MustParseAddrPort("127.0.0.1:9025")
	real4   = netip.MustParseAddrPort("198.51.100.25:25")
	client6 = netip.MustParseAddrPort("[2001:db8::10]:49152")
	local6  = netip.MustParseAddrPort("[fd00::1]:9025")
	real6   = netip.MustParseAddrPort("[2001:db8:1::25]:25")
)

// Questions and answers, made from the systems' headers by other means than ours.
var pfVectors = []struct {
	name                string
	layout              *layout
	client, local, real netip.AddrPort
	question, answer    string
}{
	{
		"OpenBSD IPv4", &openBSD, client4, local4, real4,
		"c000020a0000000000000000000000007f000001000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000c00023410000000002060200",
		"c000020a0000000000000000000000007f000001000000000000000000000000c000020a000000000000000000000000c633641900000000000000000000000000000000c0002341c000001902060200",
	},
	{
		"OpenBSD IPv6", &openBSD, client6, local6, real6,
		"20010db8000000000000000000000010fd000000000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000000c00023410000000018060200",
		"20010db8000000000000000000000010fd00000000000000000000000000000120010db800000000000000000000001020010db8000100000000000000000025" + "00000000c0002341c000001918060200",
	},
	{
		"FreeBSD IPv4", &freeBSD, client4, local4, real4,
		"c000020a0000000000000000000000007f0000010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000c00023410000000002060200",
		"c000020a0000000000000000000000007f000001000000000000000000000000c000020a000000000000000000000000c6336419000000000000000000000000c0002341c000001902060200",
	},
	{
		"FreeBSD IPv6", &freeBSD, client6, local6, real6,
		"20010db8000000000000000000000010fd0000000000000000000000000000010000000000000000000000000000000000000000000000000000000000000000c0002341000000001c060200",
		"20010db8000000000000000000000010fd00000000000000000000000000000120010db800000000000000000000001020010db8000100000000000000000025c0002341c00000191c060200",
	},
}

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPF(t *testing.T) {
	for _, tt := range pfVectors {
		t.Run(tt.name, func(t *testing.T) {
			kernel := func(c Call) error {
				// An ioctl's number holds the size of its argument.
				if want := 0xC0000000 | uint32(tt.layout.size)<<16 | 'D'<<8 | 23; c.Request != want || c.Request != tt.layout.request {
					t.Errorf("request %#x, want %#x", c.Request, want)
				}
				if want := octets(t, tt.question); !bytes.Equal(c.Arg, want) || len(c.Inner) > 0 {
					t.Errorf("question %x, want %x", c.Arg, want)
				}
				copy(c.Arg, octets(t, tt.answer))
				return nil
			}
			if got, err := tt.layout.target(kernel, tt.client, tt.local); got != tt.real || err != nil {
				t.Errorf("%v, %v, want %v", got, err, tt.real)
			}
		})
	}
}

// TestPFSource: who is behind an address of the router's own.
func TestPFSource(t *testing.T) {
	inside := netip.MustParseAddrPort("10.0.0.7:40000")
	for _, l := range []*layout{&openBSD, &freeBSD} {
		kernel := func(c Call) error {
			if c.Arg[l.af+2] != pfIn {
				t.Errorf("direction %d", c.Arg[l.af+2])
			}
			copy(c.Arg[rsaddr:], inside.Addr().AsSlice())
			binary.BigEndian.PutUint16(c.Arg[l.ports+rsport:], inside.Port())
			return nil
		}
		if got, err := l.source(kernel, client4, local4); got != inside || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestPFErrors(t *testing.T) {
	fails := func(err error) Kernel { return func(Call) error { return err } }
	for _, tt := range []struct {
		name   string
		layout *layout
		kernel Kernel
		want   error
		text   string
	}{
		{"OpenBSD has no state", &openBSD, fails(unix.ENOENT), ErrNotFound, "divert-to"},
		{"FreeBSD has no state", &freeBSD, fails(unix.ENOENT), ErrNotFound, "no translation"},
		{"more than one", &freeBSD, fails(unix.E2BIG), unix.E2BIG, "192.0.2.10:49152"},
		{"not a pf", &freeBSD, fails(unix.ENOTTY), unix.ENOTTY, "pf:"},
		{"not allowed", &openBSD, fails(unix.EPERM), unix.EPERM, "pf:"},
		{"not translated", &freeBSD, func(c Call) error {
			copy(c.Arg[rdaddr:], c.Arg[daddr:daddr+16])
			copy(c.Arg[freeBSD.ports+rdport:], c.Arg[freeBSD.ports+dport:][:2])
			return nil
		}, ErrNotFound, "127.0.0.1:9025"},
		{"nothing written", &freeBSD, fails(nil), ErrNotFound, ""},
	} {
		got, err := tt.layout.target(tt.kernel, client4, local4)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || got.IsValid() {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	if strings.Contains(freeBSD.missing, "divert") {
		t.Error("FreeBSD's divert-to is another thing: it must not be recommended")
	}
}

// TestFamilies: what the kernel could not make sense of never gets there.
func TestFamilies(t *testing.T) {
	never := func(Call) error { t.Error("the kernel was asked"); return nil }
	for _, tt := range [][2]string{
		{"192.0.2.1:1", "[2001:db8::1]:25"},
		{"[2001:db8::1]:1", "192.0.2.1:25"},
		{"[fe80::1%eth0]:1", "[fe80::2]:25"},
		{"192.0.2.1:0", "192.0.2.2:25"},
		{"192.0.2.1:1", "192.0.2.2:0"},
		{"192.0.2.1:1", "0.0.0.0:25"},
	} {
		c, l := netip.MustParseAddrPort(tt[0]), netip.MustParseAddrPort(tt[1])
		for name, look := range map[string]func(Kernel, netip.AddrPort, netip.AddrPort) (netip.AddrPort, error){"pf": PF, "source": PFSource, "ipfilter": IPFilter} {
			if _, err := look(never, c, l); !errors.Is(err, ErrFamily) {
				t.Errorf("%s %v: %v", name, tt, err)
			}
		}
	}
	if _, err := PF(never, netip.AddrPort{}, local4); !errors.Is(err, ErrFamily) {
		t.Errorf("no client: %v", err)
	}
	// A mapped address is IPv4.
	asked := false
	PF(func(c Call) error {
		asked = true
		if want := octets(t, pfVectors[2].question); native == &freeBSD && !bytes.Equal(c.Arg, want) {
			t.Errorf("%x, want %x", c.Arg, want)
		}
		return unix.ENOENT
	}, netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.10"), 49152), local4)
	if !asked {
		t.Error("a mapped address was refused")
	}
}

const (
	ipfQuestion = "7f000001000000000000000000000000c000020a0000000000000000000000000000000000000000000000000000000004000000010000002341c00000000000"
	ipfAnswer   = "7f000001000000000000000000000000c000020a000000000000000000000000c633641900000000000000000000000004000000010000002341c00000190000"
)

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

func TestIPFilter(t *testing.T) {
	if !littleEndian() {
		t.Skip("the vectors are of a little-endian machine")
	}
	for name, tt := range map[string]struct {
		object *ipfObject
		arg    string
	}{
		"64": {&ipfObject64, "18734c0040000000" + "0000000000000000" + "09000000" + "00000000" + "00000000" + strings.Repeat("00", 28)},
		"32": {&ipfObject32, "18734c0040000000" + "00000000" + "09000000" + "00000000" + "00000000" + strings.Repeat("00", 28)},
	} {
		kernel := func(c Call) error {
			if want := 0xC0000000 | uint32(tt.object.size)<<16 | 'r'<<8 | 63; c.Request != want {
				t.Errorf("%s: request %#x, want %#x", name, c.Request, want)
			}
			if hex.EncodeToString(c.Arg) != tt.arg || c.Pointer != 8 {
				t.Errorf("%s: argument %x, want %s", name, c.Arg, tt.arg)
			}
			if hex.EncodeToString(c.Inner) != ipfQuestion {
				t.Errorf("%s: question %x, want %s", name, c.Inner, ipfQuestion)
			}
			copy(c.Inner, octets(t, ipfAnswer))
			return nil
		}
		if got, err := tt.object.target(kernel, client4, local4); got != real4 || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestIPFilter6(t *testing.T) {
	kernel := func(c Call) error {
		if v := binary.NativeEndian.Uint32(c.Inner[nlVersion:]); v != 6 {
			t.Errorf("version %d", v)
		}
		if want := map[int]uint32{64: 0xC038723F, 32: 0xC034723F}[strconv.IntSize]; c.Request != want {
			t.Errorf("request %#x", c.Request)
		}
		copy(c.Inner[nlReal:], real6.Addr().AsSlice())
		binary.BigEndian.PutUint16(c.Inner[nlRealPort:], real6.Port())
		return nil
	}
	if got, err := IPFilter(kernel, client6, local6); got != real6 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, tt := range []struct{ kernel, want error }{{unix.ESRCH, ErrNotFound}, {unix.EINVAL, unix.EINVAL}} {
		if _, err := IPFilter(func(Call) error { return tt.kernel }, client4, local4); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v", tt.kernel, err)
		}
	}
	if _, err := IPFilter(func(c Call) error {
		copy(c.Inner[nlReal:], c.Inner[:16])
		copy(c.Inner[nlRealPort:], c.Inner[nlInPort:][:2])
		return nil
	}, client4, local4); !errors.Is(err, ErrNotFound) {
		t.Errorf("not translated: %v", err)
	}
}

// FuzzAnswers: whatever a kernel writes, no answer leads back to the proxy, and
// none is of another family than the question.
func FuzzAnswers(f *testing.F) {
	for _, v := range pfVectors {
		b, _ := hex.DecodeString(v.answer)
		f.Add(b)
	}
	b, _ := hex.DecodeString(ipfAnswer)
	f.Add(b)
	f.Fuzz(func(t *testing.T, answer []byte) {
		kernel := func(c Call) error {
			copy(c.Arg, answer)
			copy(c.Inner, answer)
			return nil
		}
		for _, ends := range [][2]netip.AddrPort{{client4, local4}, {client6, local6}} {
			for _, look := range []func(Kernel, netip.AddrPort, netip.AddrPort) (netip.AddrPort, error){openBSD.target, freeBSD.target, ipfObject64.target, ipfObject32.target} {
				got, err := look(kernel, ends[0], ends[1])
				if err == nil && (got == ends[1] || got.Port() == 0 || got.Addr().BitLen() != ends[1].Addr().BitLen()) {
					t.Errorf("%x: %v", answer, got)
				}
			}
		}
	})
}

// TestOpen: a device is opened for reading, and what is absent is said by name.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device")
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("absent: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Name() != path {
		t.Errorf("called %s", f.Name())
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("written to: %v", err)
	}
}
