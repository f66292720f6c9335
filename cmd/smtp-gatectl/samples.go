// What a status comes to in metrics. This file owns the values; names, help and labels are
// those of imsg.MetricTable.

package main

import (
	"time"

	"github.com/smtp-gated/smtp-gated/imsg"
)

// sample is one value of a metric; of a histogram the sum, and how often each range was hit.
type sample struct {
	metric imsg.Metric
	labels []string
	value  float64
	counts []uint64
}

// samples are all values of a status.
func samples(r *imsg.StatusReport) (list []sample) {
	add := func(m imsg.Metric, value float64, labels ...string) {
		list = append(list, sample{metric: m, labels: labels, value: value})
	}
	f := &r.Family
	add(imsg.MetricUp, 1)
	add(imsg.MetricBuild, 1, clean(f.Version))
	for h := imsg.Well; h <= imsg.Down; h++ {
		add(imsg.MetricVerdict, truth(h == r.Health), h.String())
	}
	seen := make(map[[2]string]bool)
	for _, f := range r.Findings {
		id := [2]string{f.Finding.String(), clean(f.Object)}
		if !seen[id] {
			seen[id] = true
			add(imsg.MetricFinding, 1, id[0], id[1])
		}
	}
	add(imsg.MetricReloaded, truth(!reloadFailed(f)))
	add(imsg.MetricReloadTime, seconds(max(f.Started, f.Reloaded)))
	add(imsg.MetricStart, seconds(f.Started))
	var rooms [imsg.AllRooms][imsg.Draining + 1]float64
	for _, m := range f.Rooms {
		if m.Room < imsg.AllRooms {
			rooms[m.Room][m.State]++
		}
	}
	for room := imsg.Parent; room < imsg.AllRooms; room++ {
		for state := imsg.Starting; state <= imsg.Draining; state++ {
			add(imsg.MetricRooms, rooms[room][state], room.String(), state.String())
		}
		if room == imsg.Parent {
			continue // with it all ends
		}
		restarts := uint64(0)
		if int(room) < len(f.Restarts) {
			restarts = f.Restarts[room]
		}
		add(imsg.MetricRestarts, float64(restarts), room.String())
	}
	add(imsg.MetricLogLost, float64(f.LinesLost))
	add(imsg.MetricLoad, r.Load)
	for state, n := range statesOf(r) {
		add(imsg.MetricSessionsNow, float64(n), state)
	}
	add(imsg.MetricSessionsMax, float64(r.Limit))
	ends := make(map[string]int64) // of the certificate for a name that ends first
	for i := range r.Certificates {
		c := &r.Certificates[i]
		name := clean(c.Name)
		if end, known := ends[name]; c.End != 0 && (!known || c.End < end) {
			ends[name] = c.End
		}
	}
	for name, end := range ends {
		add(imsg.MetricCertificate, float64(end), name)
	}
	add(imsg.MetricLocks, float64(r.Locks), "local")
	add(imsg.MetricExemptions, float64(r.Exempt))
	listed := make(map[string]bool)
	for _, l := range r.Lists {
		if zone := clean(l.Zone); !listed[zone] && zone != imsg.ObjectDNSBL && zone != imsg.ObjectSPF {
			listed[zone] = true
			add(imsg.MetricDNS, float64(l.Answered), zone, "answered")
			add(imsg.MetricDNS, float64(l.Silent), zone, "silent")
		}
	}
	for c := range imsg.Counters {
		if row := imsg.CounterTable[c]; row.Metric != imsg.NoMetric && int(c) < len(r.Counters) {
			add(row.Metric, float64(r.Counters[c]), row.Labels...)
		}
	}
	add(imsg.MetricTLSPassed, tlsShare(r))
	for h := range imsg.Histograms {
		if counts, sum := h.Of(r.Counters); counts != nil {
			row := imsg.HistogramTable[h]
			list = append(list, sample{row.Metric, row.Labels, sum.Seconds(), counts})
		}
	}
	return list
}

// tlsShare is how much of all sessions went on in a TLS that nobody here reads.
func tlsShare(r *imsg.StatusReport) float64 {
	if len(r.Counters) < int(imsg.Counters) || r.Counters[imsg.CountTotal] == 0 {
		return 0
	}
	return min(float64(r.Counters[imsg.CountTLSPassed])/float64(r.Counters[imsg.CountTotal]), 1)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / float64(time.Second) }

// reloadFailed tells whether the configuration on disk is not the one in force.
func reloadFailed(f *imsg.Family) bool {
	for _, t := range f.Troubles {
		if t.Finding == imsg.FindingReload && !t.Good {
			return true
		}
	}
	return false
}
