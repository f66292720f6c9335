package main

import (
	"flag"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// floodTime is how long TestFlood lasts. Only one that was asked for is held to a time.
var floodTime = flag.Duration("flood", 0, "have TestFlood last so long, and fail if a client waits 100 ms for its greeting; 0: for three seconds, whatever they wait")

// flood is a client that connects a thousand times a second and never closes by itself.
type flood struct {
	stop chan struct{}
	all  sync.WaitGroup

	mu              sync.Mutex
	refused, failed int
}

func startFlood(at, from string) *flood {
	f := &flood{stop: make(chan struct{})}
	f.all.Go(func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
				f.all.Go(func() { f.connect(&d, at) })
			}
		}
	})
	return f
}

func (f *flood) connect(d *net.Dialer, at string) {
	c, err := d.Dial("tcp4", at)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		_, err = io.ReadAll(c)
	}
	f.mu.Lock()
	if err == nil {
		f.refused++
	} else {
		f.failed++
	}
	f.mu.Unlock()
	select {
	case <-time.After(3 * time.Second):
	case <-f.stop:
	}
}

func (f *flood) sum() (refused, failed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused, f.failed
}

// end ends the flood, when all who take part have been refused.
func (f *flood) end() {
	close(f.stop)
	f.all.Wait()
}

// greeted is how long a client waits for its greeting.
func greeted(t testing.TB, at string) time.Duration {
	start := time.Now()
	c, err := dialGate(at, "")
	must(t, err)
	defer c.conn.Close()
	must(t, c.expect("220"))
	took := time.Since(start)
	must(t, c.quit())
	return took
}

// TestFlood: who is refused a thousand times a second fills no more than its part of the
// history, and holds up nobody: what another was refused before is explained all the same.
func TestFlood(t *testing.T) {
	const source, other = "127.0.0.66", "127.0.0.5"
	lasts := *floodTime
	if lasts == 0 {
		lasts = 3 * time.Second
	}
	g, _ := rehearse(t, false)
	must(t, g.configure("connect_queue 1024\nlock_on virus\nhistory_max 100000\nlog_level notice\nhistory_path "+g.path("run/history")+"\n", false))
	must(t, g.start())
	at := g.address(0)
	c, err := dialGate(at, other)
	must(t, err)
	if heard, err := c.deliver([]byte(virusMail)); err != nil || !matches("^550 ", heard) {
		t.Fatalf("a virus hears %q, error %v", heard, err)
	}
	must(t, c.conn.Close())
	_, err = g.ctl("lock", "add", source)
	must(t, err)
	f := startFlood(at, source)
	var waits []time.Duration
	for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(5 * time.Millisecond) {
		waits = append(waits, greeted(t, at))
	}
	f.end()
	refused, failed := f.sum()
	slices.Sort(waits)
	worst := waits[len(waits)-1]
	t.Logf("%d refused, %d not reached, in %v; of %d clients one waited %v for its greeting, half no more than %v",
		refused, failed, lasts, len(waits), worst, waits[len(waits)/2])
	if refused == 0 || failed > 0 {
		t.Errorf("%d were refused, %d not reached", refused, failed)
	}
	if *floodTime > 0 && worst >= 100*time.Millisecond {
		t.Errorf("a client waited %v for its greeting", worst)
	}
	for client, rule := range map[string]string{other: "virus", source: "locked"} {
		if why, err := g.ctl("explain", client); err != nil || !matches("^  rule +"+rule+"$", why) {
			t.Errorf("%s is explained by %q, error %v", client, why, err)
		}
	}
	must(t, g.terminate())
	must(t, g.start())
	if why, err := g.ctl("explain", other); err != nil || !matches("^  rule +virus$", why) {
		t.Errorf("after a restart %s is explained by %q, error %v", other, why, err)
	}
}

// BenchmarkGreetingInFlood is how long one client waits for its greeting while
// another address, which has all the sessions one may have, connects a thousand
// times a second and never closes by itself.
func BenchmarkGreetingInFlood(b *testing.B) {
	const source, held = "127.0.0.66", 8
	g, _ := stage(b, false, "connect_queue 1024\nmax_per_host 8\nlog_level notice\nlock_duration 0\n")
	at := g.address(0)
	for range held {
		c, err := dialGate(at, source)
		must(b, err)
		defer c.conn.Close()
		must(b, c.expect("220"))
	}
	f := startFlood(at, source)
	time.Sleep(3 * time.Second) // until the flood is full
	before, _ := f.sum()
	begin := time.Now()
	var waits []time.Duration
	for b.Loop() {
		waits = append(waits, greeted(b, at))
		time.Sleep(5 * time.Millisecond)
	}
	refused, failed := f.sum()
	rate := float64(refused-before) / time.Since(begin).Seconds()
	f.end()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "ms/p99")
	b.ReportMetric(rate, "refused/s")
	b.ReportMetric(float64(failed), "failed")
}
