// The temporary family, by which a configuration is tried before its first start: its
// users, its engines, and nothing else of it. It has folders of its own and a loopback
// port, and meets no client.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

// startFamily starts one. Its spool lies beside the one that it stands for, if there is a
// place: a scanner that opens files by their names sees both or neither.
func startFamily(ctx context.Context, c *config.Config, program string) (*daemon, error) {
	program, err := daemonPath(program)
	if err != nil {
		return nil, err
	}
	const prefix = "smtp-gated-doctor-"
	place := safePlace(filepath.Dir(c.Inside(c.SpoolPath)))
	if place != "" {
		sweepFolders(place, prefix)
	}
	d, err := makeDaemon(place, prefix)
	if err != nil {
		return nil, err
	}
	if err := d.startBy(ctx, program, temporary(c, d.dir)); err != nil {
		if words := d.lastWords(); words != nil {
			lines := strings.Split(words.Error(), "\n")
			err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(lines[len(lines)-1], d.dir+"/", ""))
		}
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// safePlace is a folder in which nobody but root can put one thing in the place of another,
// and in which a socket's name has room; empty if this is none.
func safePlace(folder string) string {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || folder == "/" || len(folder) > 60 {
		return ""
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return ""
	}
	return folder
}

func (d *daemon) startBy(ctx context.Context, program string, c *config.Config) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("a configuration for the temporary daemon: %w", err)
	}
	f, err := d.create(keptConfig)
	if err != nil {
		return err
	}
	if err := errors.Join(c.PrintTOML(f, true, false), f.Close()); err != nil {
		return err
	}
	return d.launch(ctx, program)
}

// temporary is a configuration with all places changed to some in a folder.
func temporary(from *config.Config, dir string) *config.Config {
	c := *from
	c.Listen, c.ListenTLS = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, nil
	if !c.Mode.Fixed() {
		// The others need a firewall, and a privilege; who has no client needs no server.
		c.Mode, c.FixedServer, c.FixedServerPort = imsg.ModeFixed, netip.MustParseAddr("127.0.0.1"), 9
		c.FixedServers = nil
		c.TLSCertificates, c.TLSPolicy, c.TLS = nil, imsg.TLSAuto, config.NewSite().TLS
	}
	c.SessionConfig.ProxyFrom = nil // we are no load balancer
	c.RemoteSecret = 0              // nobody has a use for it here
	c.Outgoing, c.SoMark = config.NewSite().Outgoing, 0
	c.Workers, c.MaxConnections = 1, min(c.MaxConnections, 16)

	// What is below chroot_path is named from outside.
	for _, path := range []*string{&c.AntivirusSocket.Path, &c.AntispamSocket.Path, &c.TLSCAFile} {
		*path = from.Inside(*path)
	}
	c.TLSCertificates = nil
	for _, names := range from.TLSCertificates {
		if from.Mode.Fixed() {
			c.TLSCertificates = append(c.TLSCertificates, config.Certificate{Chain: from.Inside(names.Chain), Key: from.Inside(names.Key)})
		}
	}
	c.ChrootPath = ""

	c.SpoolPath, c.LockPath = filepath.Join(dir, "spool"), filepath.Join(dir, "lock")
	c.RatePath, c.RateExpiration = filepath.Join(dir, "rates"), 0
	c.HistoryPath, c.HistoryMax = filepath.Join(dir, "history"), 0
	c.PidFile, c.StateFile = filepath.Join(dir, keptPid), filepath.Join(dir, "run", "state")
	c.ControlSocket, c.ControlPerm, c.ControlGroup = filepath.Join(dir, "run", "control"), 0o600, ""
	c.ReadSocket, c.ReadPerm, c.ReadGroup = filepath.Join(dir, "run", "status"), 0o600, ""
	c.LogTarget, c.ActionScript = "stderr", ""
	return &c
}
