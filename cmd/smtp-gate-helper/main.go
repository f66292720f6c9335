// The runtime would keep the control group's CPU files open.
//go:debug containermaxprocs=0

// Command smtp-gate-helper runs on the router. It tells the proxies it is allowed
// to talk to which server a connection was meant for, and who began it, before the
// router translated its addresses.
//
// This file owns the command line and the order of the start: what needs privilege
// is opened first, then privilege goes, and only then the first octet from the
// network is read.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/smtp-gated/smtp-gated/cmd/internal/version"
	"github.com/smtp-gated/smtp-gated/lookupd/wire"
	"github.com/smtp-gated/smtp-gated/parent/sandbox"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// keeperRole is the argument with which the program starts itself for the part
// that keeps a privilege.
const keeperRole = "-x"

// rights are those of the process that hears the network: its sockets, and lookups
// in pf, to which its device is limited already.
var rights = sandbox.Rights{Words: []string{"stdio", "inet-serve", "inet-answer", "pf"}}

func main() {
	if err := sandbox.CheckLinkage(); err != nil {
		fmt.Fprintln(os.Stderr, "smtp-gate-helper:", err)
		os.Exit(exitFailed)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// settings is the command line.
type settings struct {
	allowed []netip.Prefix
	listen  []netip.Addr
	port    uint
	rate    uint
	secret  string // file
	user    string
	verbose bool
	version bool
}

func run(args []string, out, errs io.Writer) int {
	if len(args) == 1 && args[0] == keeperRole {
		if err := keep(); err != nil {
			fmt.Fprintf(errs, "smtp-gate-helper: %v\n", err)
			return exitFailed
		}
		return exitOK
	}
	s, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(errs, "smtp-gate-helper: %v\n", err)
		return exitUsage
	case s.version:
		fmt.Fprintln(out, "smtp-gate-helper", version.Name())
		return exitOK
	}
	level := slog.LevelInfo
	if s.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
	if err := s.serve(log); err != nil {
		log.Error("ended", "error", err)
		return exitFailed
	}
	return exitOK
}

func parse(args []string, out io.Writer) (*settings, error) {
	s := new(settings)
	f := flag.NewFlagSet("smtp-gate-helper", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("a", "`addresses` or networks of the proxies that may ask, joined by commas; required", func(list string) error {
		for word := range strings.SplitSeq(list, ",") {
			p, err := prefix(strings.TrimSpace(word))
			if err != nil {
				return err
			}
			s.allowed = append(s.allowed, p)
		}
		return nil
	})
	f.Func("l", "`address` to listen on, may be repeated (default all)", func(word string) error {
		a, err := netip.ParseAddr(word)
		s.listen = append(s.listen, a.Unmap())
		return err
	})
	f.UintVar(&s.port, "p", wire.Port, "TCP and UDP `port`")
	f.UintVar(&s.rate, "r", 100, "`questions` a second that one proxy may ask")
	f.StringVar(&s.secret, "s", "", "`file` that holds the number shared with the proxies, for UDP (default 0)")
	f.StringVar(&s.user, "u", "_smtpgate-helper", "`user` to run as, when started by root")
	f.BoolVar(&s.verbose, "v", false, "log each question")
	f.BoolVar(&s.version, "version", false, "print the version")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "usage: smtp-gate-helper -a proxies [options]")
		f.SetOutput(out)
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	case s.version:
		return s, nil
	case f.NArg() > 0:
		return nil, fmt.Errorf("what is %q?", f.Arg(0))
	case len(s.allowed) == 0:
		return nil, errors.New("which proxies may ask? Name them with -a")
	case s.port == 0 || s.port > 65535:
		return nil, fmt.Errorf("%d is no port", s.port)
	case s.rate == 0:
		return nil, errors.New("a rate of 0 answers nobody")
	}
	return s, nil
}

// prefix reads a network, or an address as the network of it alone.
func prefix(word string) (netip.Prefix, error) {
	if strings.Contains(word, "/") {
		p, err := netip.ParsePrefix(word)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func (s *settings) serve(log *slog.Logger) error {
	secret, err := readSecret(s.secret)
	if err != nil {
		return err
	}
	who, err := account(s.user)
	if err != nil {
		return err
	}
	sockets, err := listen(s.listen, uint16(s.port))
	if err != nil {
		return err
	}
	defer sockets.close()
	find, ended, err := openFinder(who)
	if err != nil {
		return err
	}
	// Files and the service manager are out of reach soon.
	_, _ = time.Now().Zone()
	if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	if err := who.Become(); err != nil {
		return fmt.Errorf("become user %d: %w", who.UID, err)
	}
	if err := sandbox.Confine(&rights); err != nil {
		return err
	}

	h := &helper{allowed: s.allowed, secret: secret, find: find, log: log, limits: newLimits(float64(s.rate))}
	failed := make(chan error, 1)
	sockets.serve(h, failed)
	log.Info("listening", "port", s.port, "allowed", s.allowed)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		return nil
	case err := <-failed:
		return err
	case err := <-ended:
		return fmt.Errorf("the keeper ended: %w", err)
	}
}

// readSecret reads a number of 32 bits in the forms of the proxy's configuration:
// negative ones stand for those above the middle.
func readSecret(file string) (uint32, error) {
	if file == "" {
		return 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("read the secret: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return 0, fmt.Errorf("read the secret: %w", err)
	} else if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return 0, fmt.Errorf("read the secret: anybody can read %s: chmod o-rwx it", file)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, fmt.Errorf("read the secret: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 0, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 {
		return 0, fmt.Errorf("read the secret: %s holds no number of 32 bits", file)
	}
	return uint32(n), nil
}

// account looks name up if we are root.
func account(name string) (sandbox.Identity, error) {
	stay := sandbox.Unchanged
	if os.Getuid() != 0 {
		return stay, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return stay, fmt.Errorf("user to run as: %w; make it, or name another with -u", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return stay, fmt.Errorf("user to run as: %w", err)
	}
	if uid == 0 {
		return stay, errors.New("root is no user to run as: name another with -u")
	}
	return sandbox.Identity{UID: uid, GID: gid}, nil
}
