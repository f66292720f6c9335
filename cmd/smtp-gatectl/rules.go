// The command rules: the firewall's rules for a configuration. This file owns the command
// line and what is said around the rules; which they are stands in rulechoice.go. They are
// printed, and never applied.

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
	"github.com/smtp-gated/smtp-gated/imsg/link"
	"github.com/smtp-gated/smtp-gated/parent/config"
)

func (t *tool) rulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Print the firewall's rules for the configuration in force, or for FILE's; apply nothing",
		Args:  cobra.NoArgs,
		RunE:  commandMissing,
	}
	cmd.AddCommand(
		t.rulesOf("nft", "Print rules for nft -f", nftRules),
		t.rulesOf("pf", "Print rules for pf.conf", pfRules),
		t.rulesOf("routes", "Print the script that makes and removes the routes of the modes with TPROXY", routeScript),
	)
	return cmd
}

// rulesOf is the command for one program's rules.
func (t *tool) rulesOf(program, short string, choose func(*config.Config, *place) (*ruleset, error)) *cobra.Command {
	p := &place{system: runtime.GOOS, mark: 1}
	var direct []string
	cmd := &cobra.Command{
		Use:   program + " [FILE]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) (err error) {
			if t.json {
				return fmt.Errorf("%w: what a firewall reads is no JSON", errUsage)
			}
			if p.direct, err = parseNetworks(direct); err != nil {
				return err
			}
			if err := p.check(); err != nil {
				return err
			}
			c, file, stale, err := t.configured(args)
			if err != nil {
				return err
			}
			r, err := choose(c, p)
			if err != nil {
				return err
			}
			if stale != "" {
				stale += ". Reload or restart\nthe daemon first, or name the file: smtp-gatectl rules " + program + " " + file
				fmt.Fprintf(t.err, "smtp-gatectl: %s\n", clean(strings.ReplaceAll(stale, "\n", " ")))
				r.head = slices.Insert(r.head, 0, stale)
			}
			return t.printRules(r, c, file, p)
		},
	}
	flags := cmd.Flags()
	if program == "routes" || program == "nft" {
		flags.Uint32Var(&p.mark, "mark", p.mark, "of packets for the gateway, in the modes with TPROXY")
	}
	if program == "routes" {
		return cmd
	}
	flags.StringSliceVar(&p.interfaces, "interface", nil, "`names` of the interfaces that clients are behind")
	flags.StringSliceVar(&direct, "direct", nil, "`networks` and addresses that are left alone, as clients and as servers")
	flags.UintSliceVar(&p.ports, "ports", []uint{25, 587}, "`ports` of mail servers")
	completeFlag(cmd, "interface", completeInterfaces)
	completeFlag(cmd, "direct", cobra.NoFileCompletions)
	completeFlag(cmd, "ports", cobra.NoFileCompletions)
	if program == "pf" {
		flags.StringVar(&p.system, "system", p.system, "whose pf it is: openbsd or freebsd")
		completeFlag(cmd, "system", cobra.FixedCompletions([]string{"openbsd", "freebsd"}, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// place is what the daemon cannot know.
type place struct {
	interfaces []string // that clients are behind
	direct     []netip.Prefix
	ports      []uint
	mark       uint32 // of packets for the gateway
	system     string // whose firewall it is
}

// interfaceName is what may stand between quotes, and that both systems take.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,15}$`)

func (p *place) check() error {
	for _, name := range p.interfaces {
		if !interfaceName.MatchString(name) {
			return fmt.Errorf("%w: %q is no interface's name", errUsage, name)
		}
	}
	for _, port := range p.ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%w: %d is no port", errUsage, port)
		}
	}
	if p.mark == 0 {
		return fmt.Errorf("%w: --mark 0 marks nothing", errUsage)
	}
	slices.Sort(p.ports)
	p.ports = slices.Compact(p.ports)
	return nil
}

// parseNetworks reads addresses and networks. None of them lies in another, for a set of
// nft takes no such thing.
func parseNetworks(words []string) (all []netip.Prefix, err error) {
	for _, word := range words {
		n, err := netip.ParsePrefix(word)
		if a, aerr := netip.ParseAddr(word); aerr == nil && a.Zone() == "" {
			n, err = a.Prefix(a.BitLen())
		}
		if err != nil || n.Addr().Is4In6() {
			return nil, fmt.Errorf("%w: --direct: %q is no network", errUsage, word)
		}
		all = append(all, n.Masked())
	}
	slices.SortStableFunc(all, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var apart []netip.Prefix
	for _, n := range all {
		if !slices.ContainsFunc(apart, n.Overlaps) {
			apart = append(apart, n)
		}
	}
	slices.SortFunc(apart, netip.Prefix.Compare)
	return apart, nil
}

func completeInterfaces(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	all, _ := net.Interfaces()
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// configured is the configuration of FILE, if one is given, or the one in force; stale says
// how the file that it was read from is another by now.
func (t *tool) configured(args []string) (c *config.Config, file, stale string, err error) {
	if len(args) > 0 {
		if t.config != "" || t.socket != "" {
			return nil, "", "", fmt.Errorf("%w: FILE is read as it is, and --socket and --config name a daemon", errUsage)
		}
		c, _, err := config.Read(args[0])
		if err != nil {
			return nil, "", "", fmt.Errorf("%w: %s:\n%w", errConfig, args[0], err)
		}
		return c, args[0], "", nil
	}
	s, r, err := t.running()
	switch {
	case errors.Is(err, link.ErrAbsent):
		return nil, "", "", fmt.Errorf("%w: before the first start, name a FILE", err)
	case err != nil:
		return nil, "", "", err
	}
	next, _, err := config.Read(s.Config)
	switch {
	case errors.Is(err, fs.ErrPermission):
	case err != nil:
		stale = "These rules are for what runs, and the file cannot be read, or is wrong by now"
	case len(r.Changes(next)) > 0:
		stale = "These rules are for what runs, and the file has been changed since"
	}
	return r.Config, s.Config, stale, nil
}

// printRules prints rules below what there is to know of them; what is to be done before
// they load, it also says aside.
func (t *tool) printRules(r *ruleset, c *config.Config, file string, p *place) error {
	if r.mayBeAbsent {
		for _, name := range p.interfaces {
			if _, err := net.InterfaceByName(name); err != nil {
				fmt.Fprintf(t.err, "smtp-gatectl: there is no interface %s here now: rules for it lead nobody to the gateway\n", name)
			}
		}
	}
	for line := range strings.Lines(r.body) {
		if strings.Contains(line, editMark) {
			fmt.Fprintf(t.err, "smtp-gatectl: edit this line, or the rules do not load: %s", line)
		}
	}
	var b strings.Builder
	if r.shebang != "" {
		b.WriteString("#!" + r.shebang + "\n")
	}
	fmt.Fprintf(&b, "# smtp-gated, mode %s. Made by smtp-gatectl rules for\n# %s, and not applied.\n", c.Mode, clean(file))
	for _, paragraph := range r.head {
		b.WriteString("#\n")
		for line := range strings.Lines(paragraph) {
			b.WriteString(strings.TrimRight("# "+strings.TrimSuffix(line, "\n"), " ") + "\n")
		}
	}
	if r.body != "" {
		b.WriteString("\n" + r.body)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// none is what is said in a mode that needs no rules.
func none(c *config.Config, open string) *ruleset {
	var at, ports []string
	for _, l := range c.Listeners() {
		at, ports = append(at, l.String()), append(ports, strconv.Itoa(int(l.Port())))
	}
	return &ruleset{head: []string{
		"This mode needs no rules: clients call the gateway itself, at " + strings.Join(at, ", ") + ".\nWho calls the server now must come to call that, or the gateway must listen where the\nserver did. A firewall that lets in only what it knows needs a rule for it, as:",
		"    " + fmt.Sprintf(open, strings.Join(slices.Compact(slices.Sorted(slices.Values(ports))), ", ")),
	}}
}

// unsuitable is an error about a mode that a program has no rules for.
func unsuitable(m imsg.Mode, program, instead string) error {
	return fmt.Errorf("%w: in mode %s there are no rules for %s: %s", errUsage, m, program, instead)
}
