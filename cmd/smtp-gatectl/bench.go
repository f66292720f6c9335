// The command bench: load for a gateway or any mail server, and a server behind it that takes
// everything. This file owns the command line, the course of events and the verdict; a
// session is bench_client.go. It must never speak to anybody but the target it was given.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// errUndelivered is the verdict that makes the exit status.
var errUndelivered = errors.New("not all was delivered as asked")

// load is what the command line asks for.
type load struct {
	target   netip.AddrPort
	sessions int64
	mails    int
	size     int
	parallel int
	idle     int
	duration time.Duration // 0: until all sessions are over
	bdat     bool
	tls      tlsUse
	resume   bool
	source   netip.Prefix // invalid: the kernel chooses
	from, to string
	timeout  time.Duration // of each step
}

func (t *tool) benchCommand() *cobra.Command {
	l := load{}
	var use, source, sinkAt, certificate string
	cmd := &cobra.Command{
		Use:   "bench [target]",
		Short: "Send load to a mail server, and be the server behind it",
		Long: `bench sends mails to target, as 192.0.2.1:25, and shows how many were accepted, how
fast, and what went wrong. With --sink it is a mail server, too, which takes
everything: together with a target, what that has got is compared with what was
accepted; alone, it serves until interrupted.

An interrupt lets sessions end that have begun; the second ends at once. The exit
status is 0 only if each mail was accepted, no reply was other than expected, and
its own sink has got as many.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.tls = tlsUse(use)
			if certificate != "" && sinkAt == "" {
				return fmt.Errorf("%w: --sink-certificate without --sink", errUsage)
			}
			if cmd.Flags().Changed("duration") && !cmd.Flags().Changed("sessions") {
				l.sessions = 1 << 60
			}
			if err := l.complete(args, source, sinkAt != ""); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // so that the second one ends us
			return t.bench(ctx, l, sinkAt, certificate)
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&l.sessions, "sessions", 1000, "how many sessions")
	flags.IntVar(&l.mails, "mails", 1, "mails in each session")
	flags.IntVar(&l.size, "size", 4096, "octets of each mail")
	flags.IntVar(&l.parallel, "parallel", 20, "sessions at once")
	flags.IntVar(&l.idle, "idle", 0, "more sessions that are held open and say nothing meanwhile")
	flags.DurationVar(&l.duration, "duration", 0, "begin sessions for so long, as 30s, however many")
	flags.BoolVar(&l.bdat, "bdat", false, "send with BDAT in place of DATA")
	flags.StringVar(&use, "tls", string(tlsNone), strings.Join(tlsUses(), ", ")+": STARTTLS not at all, where offered, always, or TLS from the first octet")
	flags.BoolVar(&l.resume, "resume", false, "resume TLS where the server lets us, in place of a full handshake each time")
	flags.StringVar(&source, "source", "", "loopback network to come from, each session from another address, as 127.1.0.0/16")
	flags.StringVar(&l.from, "from", "sender@client.bench.invalid", "sender of each mail")
	flags.StringVar(&l.to, "to", "reader@sink.bench.invalid", "recipient of each mail")
	flags.DurationVar(&l.timeout, "timeout", 30*time.Second, "for each step: to connect, to hear a reply, to send a message")
	flags.StringVar(&sinkAt, "sink", "", "be a mail server at this address and port")
	flags.StringVar(&certificate, "sink-certificate", "", "write the sink's certificate to this new file, for tls.ca_file")
	err := cmd.RegisterFlagCompletionFunc("tls", cobra.FixedCompletions(tlsUses(), cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag is not called so
	}
	return cmd
}

func tlsUses() []string {
	return []string{string(tlsNone), string(tlsMay), string(tlsMust), string(tlsFirst)}
}

// complete checks what was asked for, and finds the target.
func (l *load) complete(args []string, source string, sink bool) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
	}
	if len(args) == 0 {
		if !sink {
			return wrong("neither a target nor --sink")
		}
		return nil
	}
	address, err := net.ResolveTCPAddr("tcp", args[0])
	if err != nil || address.IP == nil || address.Port == 0 {
		return wrong("target %q is no address and port", args[0])
	}
	a := address.AddrPort()
	l.target = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	switch {
	case l.sessions < 0 || l.idle < 0 || l.duration < 0:
		return wrong("--sessions, --idle and --duration are not below 0")
	case l.mails < 0:
		return wrong("--mails is not below 0")
	case l.size < 0 || l.size > 1<<30:
		return wrong("--size is 0 to %d", 1<<30)
	case l.parallel < 1:
		return wrong("--parallel is 1 or more")
	case l.timeout <= 0:
		return wrong("--timeout is above 0")
	case l.sessions == 0 && (l.idle == 0 || l.duration == 0):
		return wrong("with --sessions 0 there are --idle ones, and a --duration")
	case !slices.Contains(tlsUses(), string(l.tls)):
		return wrong("--tls is one of %s", strings.Join(tlsUses(), ", "))
	}
	for _, mailbox := range []string{l.from, l.to} {
		if strings.ContainsFunc(mailbox, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' }) {
			return wrong("%q is no mailbox", mailbox)
		}
	}
	if source == "" {
		return nil
	}
	l.source, err = netip.ParsePrefix(source)
	switch {
	case err != nil:
		return wrong("--source %q is no network", source)
	case !l.source.Addr().IsLoopback() || l.source.Addr().Is6() && !l.source.IsSingleIP() || l.source.Bits() < 8:
		return wrong("--source %s is not of loopback", source)
	case l.source.Addr().Is4() != l.target.Addr().Is4():
		return wrong("--source %s cannot reach %s", source, l.target)
	}
	return nil
}

// generator is a load under way.
type generator struct {
	load
	phrases   phrases
	octets    int // of a message
	dialer    net.Dialer
	tlsConfig *tls.Config
	tally     tally
	opened    atomic.Int64 // sessions, for the source of the next
}

func newGenerator(l load) *generator {
	g := &generator{load: l, phrases: newPhrases(l.from, l.to, l.size), tlsConfig: &tls.Config{InsecureSkipVerify: true}}
	g.octets = len(g.phrases.text) - len(".\r\n")
	g.dialer = net.Dialer{Timeout: l.timeout, KeepAlive: -1}
	if l.resume {
		g.tlsConfig.ServerName = "bench.invalid" // sessions are kept by it; it is not checked, nor is the certificate
		g.tlsConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if l.source.IsValid() {
		g.dialer.Control = bindLate
	}
	return g
}

func (t *tool) bench(ctx context.Context, l load, sinkAt, certificate string) error {
	var own *sink
	if sinkAt != "" {
		var err error
		if own, err = newSink(sinkAt); err != nil {
			return err
		}
		defer own.close()
		if certificate != "" {
			if err := own.writeCertificate(certificate); err != nil {
				return err
			}
			defer os.Remove(certificate)
		}
		go own.serve()
		fmt.Fprintf(t.err, "the sink is at %s\n", own.listener.Addr())
	}
	if !l.target.IsValid() {
		<-ctx.Done()
		return t.showSink(own.result())
	}
	g := newGenerator(l)
	r := g.run(ctx, t.err)
	if own != nil {
		r.Sink = own.result()
	}
	r.Complete = r.complete()
	if err := t.showBench(r); err != nil {
		return err
	}
	if !r.Complete {
		return errUndelivered
	}
	return nil
}

// run sends the load until it is over, or ctx: then what has begun comes to its end.
func (g *generator) run(ctx context.Context, progress io.Writer) *benchResult {
	idle := g.hold(ctx)
	if g.idle > 0 {
		fmt.Fprintf(progress, "%d of %d idle sessions are held\n", len(idle), g.idle)
	}
	start := time.Now()
	if g.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.duration)
		defer cancel()
	}
	if g.sessions == 0 {
		<-ctx.Done()
	}
	g.each(ctx, g.sessions, func(int64) { g.session(ctx) })
	took := time.Since(start)
	g.release(idle)
	return g.result(took)
}

// each does something so many times, as many at once as is asked for, until ctx is over.
func (g *generator) each(ctx context.Context, times int64, do func(nth int64)) {
	var workers sync.WaitGroup
	var begun atomic.Int64
	for range min(int64(g.parallel), times) {
		workers.Go(func() {
			for ctx.Err() == nil {
				nth := begun.Add(1) - 1
				if nth >= times {
					return
				}
				do(nth)
			}
		})
	}
	workers.Wait()
}

// session is one from begin to end. When ctx is over it sends no further mail.
func (g *generator) session(ctx context.Context) {
	g.tally.asked.sessions.Add(1)
	g.tally.asked.mails.Add(int64(g.mails))
	c, err := g.open(&g.tally.greeting)
	if err != nil {
		g.count(err)
		return
	}
	for i := range g.mails {
		if ctx.Err() != nil {
			g.tally.asked.mails.Add(int64(i - g.mails))
			break
		}
		if err = c.mail(); err != nil {
			g.count(err)
			break
		}
	}
	if c.leave(err) {
		g.tally.done.sessions.Add(1)
	}
}

// hold opens the sessions that are to be idle.
func (g *generator) hold(ctx context.Context) (idle []*client) {
	var mu sync.Mutex
	g.each(ctx, int64(g.idle), func(int64) {
		g.tally.asked.idle.Add(1)
		c, err := g.open(&g.tally.idleGreeting)
		if err != nil {
			g.count(err)
			return
		}
		mu.Lock()
		idle = append(idle, c)
		mu.Unlock()
	})
	return idle
}

// release ends them, and sees whether they were there to the end.
func (g *generator) release(idle []*client) {
	g.each(context.Background(), int64(len(idle)), func(nth int64) {
		c := idle[nth]
		err := c.say("idle", c.phrases.noop, 250)
		if err != nil {
			g.count(err)
		}
		if c.leave(err) {
			g.tally.done.idle.Add(1)
		}
	})
}
