// What the shell completes. This file owns what is completed from a live daemon; without
// one nothing is.

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/lockd/locks"
)

// completer is what cobra asks for words.
type completer = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completeTime is how long who has pressed the key waits.
const completeTime = time.Second

// complete offers the words of a live daemon that are not there yet, those that it tells
// in time.
func (t *tool) complete(words ...func(*control) []string) completer {
	return func(_ *cobra.Command, args []string, _ string) (all []string, _ cobra.ShellCompDirective) {
		told := make(chan []string, len(words))
		go func() {
			defer close(told)
			c, err := t.look()
			if err != nil {
				return
			}
			defer c.Close()
			for _, f := range words {
				told <- f(c)
			}
		}()
		for late := time.After(completeTime); ; {
			select {
			case <-late:
				return all, cobra.ShellCompDirectiveNoFileComp
			case some, more := <-told:
				if !more {
					return all, cobra.ShellCompDirectiveNoFileComp
				}
				for _, word := range some {
					if word != "" && !slices.Contains(args, word) && !slices.Contains(all, word) {
						all = append(all, word)
					}
				}
			}
		}
	}
}

// one is complete for what takes a single word.
func one(words completer) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(cmd, args, begun)
	}
}

// completeFlag has the words for a flag offered.
func completeFlag(cmd *cobra.Command, flag string, words completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, words); err != nil {
		panic(err) // there is no such flag
	}
}

// countedClients are those of the rate limiter.
func countedClients(c *control) (names []string) {
	list, _, _ := c.rates()
	for _, r := range list {
		names = append(names, r.name())
	}
	return names
}

// lockedClients are those that are locked out.
func lockedClients(c *control) (names []string) {
	list, _ := c.allLocks()
	for i := range list {
		if !list[i].Whitelisted {
			names = append(names, list[i].Name)
		}
	}
	return names
}

// lockedAddresses are the addresses of the same.
func lockedAddresses(c *control) (names []string) {
	for _, name := range lockedClients(c) {
		address, _, _ := strings.Cut(name, "-")
		names = append(names, address)
	}
	return names
}

// liveClients are those that have a session, as a lock names them.
func liveClients(c *control) (names []string) {
	list, _, _ := c.sessions()
	for i := range list {
		names = append(names, clientOf(&list[i]))
		if login := list[i].Login; login != "" {
			names = append(names, locks.LoginName(login))
		}
	}
	return names
}

// liveAddresses are the addresses of the same.
func liveAddresses(c *control) (names []string) {
	list, _, _ := c.sessions()
	for i := range list {
		names = append(names, list[i].address())
	}
	return names
}

// liveServers are the addresses of the servers of those sessions.
func liveServers(c *control) (names []string) {
	list, _, _ := c.sessions()
	for i := range list {
		if a, err := netip.ParseAddrPort(list[i].Target); err == nil {
			names = append(names, a.Addr().String())
		}
	}
	return names
}

// liveIdents are for whom their clients call.
func liveIdents(c *control) (names []string) {
	list, _, _ := c.sessions()
	for i := range list {
		names = append(names, list[i].Ident)
	}
	return names
}

// liveIDs are the words that the live sessions' clients can quote.
func liveIDs(c *control) (ids []string) {
	list, _, _ := c.sessions()
	for i := range list {
		ids = append(ids, fmt.Sprintf("%d.%d", list[i].Started.Unix(), list[i].Number))
	}
	return ids
}

// nameNoFiles has no files offered to commands that take none.
func nameNoFiles(c *cobra.Command) {
	for _, sub := range c.Commands() {
		nameNoFiles(sub)
	}
	if c.Args != nil && c.Args(c, []string{"file"}) != nil && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 && !c.HasSubCommands() {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
}

// completeRateSet knows clients, and behind the first the counters, too.
func (t *tool) completeRateSet(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 || isClient(args[len(args)-1]) {
		words, _ = t.complete(countedClients)(cmd, args, begun)
	}
	if len(args) == 0 {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	for _, name := range counterNames() {
		if word := name + "="; !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, word) }) {
			words = append(words, word)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
