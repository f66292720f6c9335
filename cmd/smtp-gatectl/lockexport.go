// The command lock export: the locks as a packet filter takes them. This file owns who is
// among them, and that nothing but addresses and the names of the command line gets into
// what a privileged program reads.

package main

import (
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

func (t *tool) lockExportCommand() *cobra.Command {
	var minAge time.Duration
	var minRefusals uint64
	cmd := &cobra.Command{
		Use:   "export nft:FAMILY/TABLE/SET4,SET6 | pf | plain",
		Short: "Print the locks as a packet filter takes them",
		Long: `export prints whom a packet filter may block: the whole state, for nft -f as one
transaction, for pfctl -T replace -f and others an address or network a line. Nobody is
among them who is protected, nor a lock that is for one user of an address.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions([]string{"nft:inet/smtp_gated_locked/locked4,locked6", "pf", "plain"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(_ *cobra.Command, args []string) error {
			form, err := parseForm(args[0])
			if err != nil {
				return err
			}
			if minAge < 0 {
				return fmt.Errorf("%w: --min-age %s is no age", errUsage, minAge)
			}
			c, err := t.look()
			if err != nil {
				return err
			}
			defer c.Close()
			list, err := c.allLocks()
			if err != nil {
				return err
			}
			now := time.Now()
			blocked := exported(list, now, minAge, minRefusals)
			if t.json {
				return printJSON(t.out, blocked)
			}
			_, err = io.WriteString(t.out, form(blocked, now))
			return err
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&minAge, "min-age", 0, "only who has been locked for so long, as 10m")
	flags.Uint64Var(&minRefusals, "min-refusals", 0, "only who has been turned away so often since")
	return cmd
}

// blocked is who is to be blocked, and until when; the zero time: for ever.
type blocked struct {
	Network netip.Prefix `json:"network"`
	Expires time.Time    `json:"expires,omitzero"`
}

func (b blocked) String() string {
	if b.Network.IsSingleIP() {
		return b.Network.Addr().String()
	}
	return b.Network.String()
}

// exported is who of the locked is to be blocked, in the order of addresses.
func exported(list []lock, now time.Time, minAge time.Duration, minRefusals uint64) []blocked {
	all := []blocked{}
	for _, l := range list {
		client, ok := locks.Parse(l.Name)
		network := netip.PrefixFrom(client.Addr, l.bits)
		switch {
		case !ok || client.HasIdent || l.bits == 0 || !network.IsValid() || network != network.Masked():
		case l.Whitelisted || l.Protected || !l.Expires.IsZero() && !l.Expires.After(now):
		case now.Sub(l.Created) < minAge || l.Refusals < minRefusals:
		default:
			all = append(all, blocked{network, l.Expires})
		}
	}
	slices.SortFunc(all, func(a, b blocked) int { return a.Network.Addr().Compare(b.Network.Addr()) })
	return all
}

// form is how all who are blocked are written.
type form func(all []blocked, now time.Time) string

// nftName is what nft takes as a name, as far as it needs no quotes and is no path.
var nftName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,254}$`)

// nftFamilies are the kinds of tables that see addresses.
var nftFamilies = []string{"inet", "ip", "ip6", "bridge", "netdev"}

func parseForm(text string) (form, error) {
	if text == "pf" || text == "plain" {
		return lines, nil
	}
	sets, ok := strings.CutPrefix(text, "nft:")
	words := strings.Split(sets, "/")
	if !ok || len(words) != 3 {
		return nil, fmt.Errorf("%w: %q is none of nft:FAMILY/TABLE/SET4,SET6, pf and plain", errUsage, text)
	}
	if !slices.Contains(nftFamilies, words[0]) {
		return nil, fmt.Errorf("%w: %q is no family of nft: there are %s", errUsage, words[0], strings.Join(nftFamilies, ", "))
	}
	set4, set6, ok := strings.Cut(words[2], ",")
	if !ok || set4 == set6 {
		return nil, fmt.Errorf("%w: %q are not two sets, one for each kind of address", errUsage, words[2])
	}
	for _, name := range []string{words[1], set4, set6} {
		if !nftName.MatchString(name) {
			return nil, fmt.Errorf("%w: %q is no name of nft", errUsage, name)
		}
	}
	table := words[0] + " " + words[1] + " "
	return func(all []blocked, now time.Time) string { return nftSets(table+set4, table+set6, all, now) }, nil
}

// lines has one on each line.
func lines(all []blocked, _ time.Time) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

// nftSets is what puts all into the two sets in the place of what is there, at once: nft
// takes a file as one transaction.
func nftSets(set4, set6 string, all []blocked, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "flush set %s\nflush set %s\n", set4, set6)
	at6 := slices.IndexFunc(all, func(e blocked) bool { return e.Network.Addr().Is6() })
	if at6 < 0 {
		at6 = len(all)
	}
	nftElements(&b, set4, all[:at6], now)
	nftElements(&b, set6, all[at6:], now)
	return b.String()
}

// nftElements adds to one set, an element a line.
func nftElements(b *strings.Builder, set string, all []blocked, now time.Time) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "add element %s {\n", set)
	for _, e := range all {
		b.WriteString(e.String())
		if !e.Expires.IsZero() { // nft counts seconds: it does not let in whom we turn away yet
			fmt.Fprintf(b, " timeout %ds", (e.Expires.Sub(now)-1)/time.Second+1)
		}
		b.WriteString(",\n")
	}
	b.WriteString("}\n")
}
