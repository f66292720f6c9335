// What a room cannot find out behind its chroot: the host's name, the system's
// name servers, the addresses that were bound.

package parent

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/smtp-gated/smtp-gated/parent/config"
)

// maxNameservers is what resolv.conf(5) calls MAXNS.
const maxNameservers = 3

func (p *parent) facts(g *generation) config.Facts {
	f := config.Facts{Version: p.Version, CompileDate: p.CompileDate, Nameservers: nameservers("/etc/resolv.conf")}
	f.HostName, _ = os.Hostname()
	for _, l := range g.listeners {
		f.Listeners = append(f.Listeners, l.bound)
	}
	return f
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
