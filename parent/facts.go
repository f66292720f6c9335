// What a room cannot find out behind its chroot, and is told with its configuration.

package parent

import (
	"os"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
)

// facts are what the rooms of g are told beside the configuration.
func (p *parent) facts(g *generation) config.Facts {
	f := config.Facts{Version: p.Version, CompileDate: p.CompileDate, Nameservers: host.Nameservers("/etc/resolv.conf")}
	f.HostName, _ = os.Hostname()
	var err error
	if f.Own, err = host.Addresses(); err != nil {
		p.log.Warn("loops through other addresses of this machine will not be noticed", "error", err)
	}
	for _, folder := range ownFolders(g.cfg) {
		switch folder.room {
		case imsg.Session:
			f.SpoolShared = folder.Shared() != ""
		case imsg.Lockd:
			f.LocksShared = folder.Shared() != ""
		}
	}
	for _, l := range g.listeners {
		f.Listeners = append(f.Listeners, l.Addr)
	}
	return f
}
