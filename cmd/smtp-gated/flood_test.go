package main

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkGreetingInFlood is how long one client waits for its greeting while
// another address, which has all the sessions one may have, connects a thousand
// times a second and never closes by itself.
func BenchmarkGreetingInFlood(b *testing.B) {
	const flood, held = "127.0.0.66", 8
	g, _ := stage(b, false, "connect_queue 1024\nmax_per_host 8\nlog_level notice\nlock_duration 0\n")
	at := g.address(0)
	for range held {
		c, err := dialGate(at, flood)
		must(b, err)
		defer c.conn.Close()
		must(b, c.expect("220"))
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	var refused, failed int
	var mu sync.Mutex
	all.Go(func() {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(flood)}, Timeout: patience}
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			all.Go(func() {
				c, err := d.Dial("tcp4", at)
				if err == nil {
					defer c.Close()
					c.SetDeadline(time.Now().Add(patience))
					_, err = io.ReadAll(c)
				}
				mu.Lock()
				if err == nil {
					refused++
				} else {
					failed++
				}
				mu.Unlock()
				select {
				case <-time.After(3 * time.Second):
				case <-stop:
				}
			})
		}
	})
	time.Sleep(3 * time.Second) // until the flood is full
	mu.Lock()
	before := refused
	mu.Unlock()
	begin := time.Now()
	var waits []time.Duration
	for b.Loop() {
		start := time.Now()
		c, err := dialGate(at, "")
		must(b, err)
		must(b, c.expect("220"))
		waits = append(waits, time.Since(start))
		must(b, c.quit())
		c.conn.Close()
		time.Sleep(5 * time.Millisecond)
	}
	mu.Lock()
	rate := float64(refused-before) / time.Since(begin).Seconds()
	lost := failed
	mu.Unlock()
	close(stop)
	all.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "ms/p99")
	b.ReportMetric(rate, "refused/s")
	b.ReportMetric(float64(lost), "failed")
}
