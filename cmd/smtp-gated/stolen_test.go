// A stolen account: one login that sends from two hundred addresses, behind one of which
// an office goes on with its work.

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// account is a client that has logged in, and what it has sent so far.
type account struct {
	*client
	name string
	sent []string // Message-Ids that the server has taken, by the gateway's word
	next int
}

// loginAs connects from an address and logs in.
func loginAs(gate, from, name string) (*account, error) {
	c, err := dialGate(gate, from)
	if err != nil {
		return nil, err
	}
	a := &account{client: c, name: name}
	return a, a.again(gate, "")
}

// again logs in, by a new connection if from is given.
func (a *account) again(gate, from string) error {
	if from != "" {
		a.conn.Close()
		c, err := dialGate(gate, from)
		if err != nil {
			return err
		}
		a.client = c
	}
	if err := a.greet(); err != nil {
		return err
	}
	return a.ask(asPlain(a.name), "235 ")
}

// begins sends a mail but for its end.
func (a *account) begins(text string) (id string, err error) {
	a.next++
	id = fmt.Sprintf("%s.%p.%d@client.test", a.name, a, a.next)
	if err := a.mail("354 "); err != nil {
		return "", err
	}
	return id, a.text([]byte(strings.Replace(text, "<1@client.test>", "<"+id+">", 1)))
}

// ends sends the end of a mail and returns the reply.
func (a *account) ends(id string) (string, error) {
	if err := a.send("."); err != nil {
		return "", err
	}
	answer, err := a.reply()
	if strings.HasPrefix(answer, "250 ") {
		a.sent = append(a.sent, id)
	}
	return answer, err
}

// sends sends a mail and returns the first reply that is none of success.
func (a *account) sends(text string) (string, error) {
	id, err := a.begins(text)
	var other *unexpected
	if errors.As(err, &other) {
		return other.got, nil
	} else if err != nil {
		return "", err
	}
	return a.ends(id)
}

// together has all do something at once.
func together(t *testing.T, all []*account, do func(i int, a *account) error) {
	t.Helper()
	var wait sync.WaitGroup
	for i, a := range all {
		wait.Go(func() {
			if err := do(i, a); err != nil {
				t.Errorf("%s %d: %v", a.name, i, err)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// TestStolenAccount: where lock.by is login the account is stopped at the first spam that is
// found, wherever it is and whatever it is about, and the office mails on. By address it is
// the other way round.
func TestStolenAccount(t *testing.T) {
	const bots, office, shared = 200, 20, "127.1.0.1"
	var table strings.Builder
	for _, by := range []string{"login", "address", "both"} {
		t.Run(by, func(t *testing.T) {
			g, m := relayed(t, func(g *gate) string {
				return strings.Replace(newDefaults(g), "[lock]\n", "[lock]\non = [\"spam\"]\nby = \""+by+"\"\n", 1) + "[limits]\nconnections = 1000\n"
			}, true, "logins", "forgets")
			gate := g.address(0)
			from := func(i int) string { return fmt.Sprintf("127.1.%d.%d", i/100, i%100+1) }
			stolen, colleagues := make([]*account, bots), make([]*account, office)
			t.Cleanup(func() {
				for _, a := range append(stolen, colleagues...) {
					if a != nil {
						a.conn.Close()
					}
				}
			})
			opened := func(all []*account, from func(i int) string, name func(i int) string) {
				var wait sync.WaitGroup
				for i := range all {
					wait.Go(func() {
						a, err := loginAs(gate, from(i), name(i))
						if err != nil {
							t.Errorf("%s: %v", name(i), err)
							return
						}
						all[i] = a
					})
				}
				wait.Wait()
				if t.Failed() {
					t.FailNow()
				}
			}
			opened(stolen, from, func(int) string { return "stolen" })
			opened(colleagues, func(int) string { return shared }, func(i int) string { return fmt.Sprintf("colleague%d", i) })
			clean := func(_ int, a *account) error {
				answer, err := a.sends(cleanMail)
				if err == nil && !strings.HasPrefix(answer, "250 ") {
					err = errors.New(answer)
				}
				return err
			}
			together(t, stolen, clean)
			together(t, colleagues, clean)

			// Half of them are within a mail when the first, behind the office's address, is found
			// with spam.
			under := make([]string, bots)
			together(t, stolen, func(i int, a *account) (err error) {
				if i%2 == 1 {
					under[i], err = a.begins(cleanMail)
				}
				return err
			})
			before := 0
			for _, a := range stolen {
				before += len(a.sent)
			}
			if answer, err := stolen[0].sends(spamMail); err != nil || !strings.HasPrefix(answer, "550 ") {
				t.Fatalf("spam: %q, %v", answer, err)
			}

			// From here on the lock is there.
			var mu sync.Mutex
			heard := map[string]int{}
			hears := func(answer string) {
				mu.Lock()
				defer mu.Unlock()
				heard[answer[:min(3, len(answer))]]++
			}
			together(t, stolen[1:], func(i int, a *account) error {
				i++
				answer, err := "", error(nil)
				if i%2 == 1 {
					answer, err = a.ends(under[i])
				} else {
					answer, err = a.sends(cleanMail)
				}
				hears(answer)
				if err != nil {
					return err
				}
				if err := a.again(gate, from(i)); err != nil {
					return err
				}
				answer, err = a.sends(cleanMail)
				hears(answer)
				return err
			})
			after := -before
			for _, a := range stolen {
				after += len(a.sent)
			}
			lost := 0
			together(t, colleagues, func(i int, a *account) error {
				for try := range 2 { // in the session that it has, and in a new one
					answer := ""
					err := error(nil)
					if try == 1 {
						err = a.again(gate, shared)
					}
					if err == nil {
						answer, err = a.sends(cleanMail)
					}
					if by == "login" && (err != nil || !strings.HasPrefix(answer, "250 ")) {
						return fmt.Errorf("%q, %w", answer, err)
					}
					if !strings.HasPrefix(answer, "250 ") {
						mu.Lock()
						lost++
						mu.Unlock()
					}
				}
				return nil
			})

			arrived := map[string]int{}
			box, err := m.box()
			must(t, err)
			for _, mail := range box {
				arrived[identity.FindStringSubmatch(mail)[1]]++
			}
			said := 0
			for _, a := range append(stolen, colleagues...) {
				said += len(a.sent)
				for _, id := range a.sent {
					if arrived[id] != 1 {
						t.Errorf("%s has arrived %d times", id, arrived[id])
					}
				}
			}
			if len(arrived) != said {
				t.Errorf("%d mails are delivered by their sender's word, %d have arrived", said, len(arrived))
			}
			files, err := os.ReadDir(g.path("lock"))
			must(t, err)
			var names []string
			for _, f := range files {
				names = append(names, f.Name())
			}
			locks := strings.Join(names, " ")
			if want := map[string]string{"login": "login=stolen", "address": shared, "both": shared + " login=stolen"}[by]; locks != want {
				t.Errorf("locks %q, want %q", locks, want)
			}
			if by != "address" && after != 0 || by == "address" && after == 0 {
				t.Errorf("%d mails of the account are delivered behind its lock", after)
			}
			if by == "login" && lost > 0 || by != "login" && lost == 0 {
				t.Errorf("%d mails of the office are refused", lost)
			}
			fmt.Fprintf(&table, "%-8s %7d %7d %8v %12d of %d   %s\n", by, before, after, fmt.Sprint(heard), 3*office-lost, 3*office, locks)
		})
	}
	t.Logf("of an account that sends from %d addresses, and an office of %d logins behind one of them:\nlock.by  before  behind  replies behind the lock        of the office   locks\n%s", bots, office, table.String())
}
