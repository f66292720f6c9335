//go:build linux

package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNameservers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\nnameserver nonsense\n" +
		"nameserver fe80::1%eth0 # router\nnameserver\nnameserver 2001:db8::1\nnameserver 192.0.2.4\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(Nameservers(path)); got != "[192.0.2.1:53 [fe80::1%eth0]:53 [2001:db8::1]:53]" {
		t.Error(got)
	}
	// A line of any length is one that says nothing, and half an address is none.
	const server = "nameserver 192.0.2.1\n"
	for text, want := range map[string]string{
		"#" + strings.Repeat("x", maxResolv-len(server)-2) + "\n" + server: "[192.0.2.1:53]",
		"#" + strings.Repeat("x", maxResolv-len(server)-1) + "\n" + server: "[]",
		strings.Repeat("x", maxResolv+1):                                   "[]",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(Nameservers(path)); got != want {
			t.Errorf("%d octets: %s, want %s", len(text), got, want)
		}
	}
	if got := Nameservers(path + ".none"); got != nil {
		t.Error(got)
	}
}

func TestAddresses(t *testing.T) {
	own, err := Addresses()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(own), "127.0.0.1") {
		t.Errorf("%v", own)
	}
}
