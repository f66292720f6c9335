// What a room cannot find out behind its chroot: the host's name and addresses,
// the system's name servers, the addresses that were bound.

package parent

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// maxNameservers is what resolv.conf(5) calls MAXNS.
const maxNameservers = 3

func (p *parent) facts(g *generation) config.Facts {
	f := config.Facts{Version: p.Version, CompileDate: p.CompileDate, Nameservers: nameservers("/etc/resolv.conf")}
	f.HostName, _ = os.Hostname()
	var err error
	if f.Own, err = ownAddresses(); err != nil {
		p.log.Warn("loops through other addresses of this machine will not be noticed", "error", err)
	}
	for _, folder := range ownFolders(g.cfg) {
		switch folder.room {
		case imsg.Session:
			f.SpoolShared = folder.shared() != ""
		case imsg.Lockd:
			f.LocksShared = folder.shared() != ""
		}
	}
	for _, l := range g.listeners {
		f.Listeners = append(f.Listeners, l.bound)
	}
	return f
}

// maxOwn bounds what a session looks through for each client.
const maxOwn = 4096

// ownAddresses are those of this machine's interfaces.
func ownAddresses() (own []netip.Addr, err error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("learn our addresses: %w", err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ip.IP); ok {
				own = append(own, addr.Unmap())
			}
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	own = slices.Compact(own)
	return own[:min(len(own), maxOwn)], nil
}

// nameservers reads resolv.conf(5). A file that is not there names none.
func nameservers(path string) []netip.AddrPort {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []netip.AddrPort
	for in := bufio.NewScanner(f); in.Scan() && len(all) < maxNameservers; {
		words := strings.Fields(in.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			all = append(all, netip.AddrPortFrom(a, 53))
		}
	}
	return all
}

func dirOf(path string) string { return filepath.Dir(filepath.Clean(path)) }
