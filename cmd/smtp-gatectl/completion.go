// What the shell completes. This file owns what is completed from a live daemon; without
// one nothing is.

package main

import (
	"slices"

	"github.com/spf13/cobra"
)

// complete offers the words of a live daemon that are not there yet.
func (t *tool) complete(args []string, words func(*control) []string) ([]string, cobra.ShellCompDirective) {
	c, err := t.look()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	all := slices.DeleteFunc(words(c), func(word string) bool { return slices.Contains(args, word) })
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completeRates knows the clients that are counted.
func (t *tool) completeRates(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.complete(args, (*control).countedClients)
}

func (c *control) countedClients() (names []string) {
	list, _, _ := c.rates()
	for _, r := range list {
		names = append(names, r.name())
	}
	return names
}

// completeLocks knows the clients that are locked.
func (t *tool) completeLocks(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return t.complete(args, (*control).lockedClients)
}

func (c *control) lockedClients() (names []string) {
	list, _ := c.allLocks()
	for i := range list {
		if !list[i].Whitelisted {
			names = append(names, list[i].Name)
		}
	}
	return names
}

// completeRateSet knows clients, and behind the first the counters, too.
func (t *tool) completeRateSet(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 || isClient(args[len(args)-1]) {
		words, _ = t.completeRates(cmd, args, begun)
	}
	if len(args) == 0 {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	for _, name := range counterNames() {
		words = append(words, name+"=")
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
