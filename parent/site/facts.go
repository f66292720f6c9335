// What a room cannot find out behind its chroot, and is told with its configuration.

package site

import (
	"os"

	"github.com/smtp-gated/smtp-gated/parent/config"
	"github.com/smtp-gated/smtp-gated/parent/host"
	"github.com/smtp-gated/smtp-gated/parent/socket"
)

// Facts are what the rooms are told beside the configuration, all but our version.
func (s *Site) Facts(listeners []*socket.Listener) config.Facts {
	f := config.Facts{Nameservers: host.Nameservers("/etc/resolv.conf"), Alone: s.Workers() == 1, SpoolShared: s.shared(Spool), LocksShared: s.shared(Locks), Roots: s.roots}
	f.HostName, _ = os.Hostname()
	var err error
	if f.Own, err = host.Addresses(); err != nil {
		s.Log.Warn("loops through other addresses of this machine will not be noticed", "error", err)
	}
	for _, l := range listeners {
		f.Listeners = append(f.Listeners, l.Addr)
	}
	return f
}
