// How long things take, as counters: one for each range, and one for the sum. So they are
// said, summed and kept as counters are. This file owns the ranges and where each stands.

package imsg

import "time"

// Histogram numbers one of the distributions.
type Histogram uint8

// The histograms.
const (
	TimeSession Histogram = iota
	TimeAdded
	TimeClamd // in the order of Engine
	TimeMksd
	TimeSpamd
	TimeBuiltin
	Histograms // how many there are
)

// TimeBounds are the longest times that still belong to each range. What is longer belongs
// to one more.
var TimeBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 15 * time.Millisecond,
	30 * time.Millisecond, 60 * time.Millisecond, 125 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute,
}

// histogramSize is how many numbers one is: the ranges, what is longer, and the sum.
const histogramSize = len(TimeBounds) + 2

// Slots is how many numbers all counters and histograms are: a slot below Counters is that
// counter's.
const Slots = int(Counters) + int(Histograms)*histogramSize

// HistogramRow is all there is to say of a histogram.
type HistogramRow struct {
	Name   string // in JSON
	Metric Metric
	Labels []string
}

// HistogramTable tells of each.
var HistogramTable = [Histograms]HistogramRow{
	TimeSession: {"session", MetricSessionDuration, nil},
	TimeAdded:   {"added", MetricAddedLatency, nil},
	TimeClamd:   scanTimeRow(EngineClamd),
	TimeMksd:    scanTimeRow(EngineMksd),
	TimeSpamd:   scanTimeRow(EngineSpamd),
	TimeBuiltin: scanTimeRow(EngineBuiltin),
}

func scanTimeRow(e Engine) HistogramRow {
	return HistogramRow{"scan_" + e.String(), MetricScanDuration, []string{e.String()}}
}

// TimeScan is the histogram of an engine's scans.
func TimeScan(e Engine) Histogram { return TimeClamd + Histogram(e-EngineClamd) }

func (h Histogram) String() string { return HistogramTable[h%Histograms].Name }

// Slots returns where a time is counted, and where it is added, in microseconds.
func (h Histogram) Slots(d time.Duration) (count, sum int) {
	first := int(Counters) + int(h)*histogramSize
	i := 0
	for i < len(TimeBounds) && d > TimeBounds[i] {
		i++
	}
	return first + i, first + histogramSize - 1
}

// Of returns the part of all slots that is the histogram's: how many times were in each
// range, and their sum. Of too few slots it is empty.
func (h Histogram) Of(slots []uint64) (counts []uint64, sum time.Duration) {
	first := int(Counters) + int(h)*histogramSize
	if len(slots) < first+histogramSize {
		return nil, 0
	}
	all := slots[first : first+histogramSize]
	const most = uint64(1<<63-1) / uint64(time.Microsecond)
	return all[:len(all)-1], time.Duration(min(all[len(all)-1], most)) * time.Microsecond
}
