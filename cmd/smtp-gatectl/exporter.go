// The command exporter: the family's metrics, for Prometheus. This file owns what is served
// and to whom; what the metrics are stands in samples.go. It asks for the status alone, and
// changes nothing.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/smtp-gated/smtp-gated/imsg"
)

const (
	// metricsAddress is where metrics are served if nothing else is said.
	metricsAddress = "127.0.0.1:9918"
	// scrapeTime is how long a scrape may take: less than Prometheus waits, ten seconds, so
	// that it hears that there is no answer.
	scrapeTime = 8 * time.Second
	// requestTime is for a request to come, and for a client that reads slowly.
	requestTime = 10 * time.Second
	// farewellTime is for scrapes under way at the end.
	farewellTime = scrapeTime + time.Second
)

func (t *tool) exporterCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "exporter",
		Short: "Serve metrics to Prometheus",
		Long: `exporter serves the daemon's metrics at /metrics to Prometheus, until it is told to
end. It asks the daemon once a scrape; while that does not answer it tells so by
smtp_gated_up.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(t.out, "metrics are at http://%s%s\n", l.Addr(), metricsPath)
			return serveMetrics(ctx, l, newExporter(t.look, scrapeTime, t.err))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", metricsAddress, "address and port to serve at")
	return cmd
}

const metricsPath = "/metrics"

// serveMetrics serves until ctx is over.
func serveMetrics(ctx context.Context, l net.Listener, e *exporter) error {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(e); err != nil {
		l.Close()
		return err
	}
	server := &http.Server{
		Handler:           onlyMetrics(promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true, ErrorLog: e.log})),
		ReadHeaderTimeout: requestTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      scrapeTime + requestTime,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // what strangers say at the port is no news
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), farewellTime)
		defer cancel()
		ended <- server.Shutdown(end)
	}()
	go e.status() // what keeps us from the daemon is in the log before anybody asks
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// onlyMetrics lets nothing pass but questions for the metrics.
func onlyMetrics(metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != metricsPath:
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		default:
			metrics.ServeHTTP(w, r)
		}
	})
}

// exporter asks the daemon for its status, once a scrape.
type exporter struct {
	dial  func() (*control, error)
	limit time.Duration // of a scrape
	turn  chan struct{} // one of them asks at a time
	log   *log.Logger
	descs [imsg.Metrics]*prometheus.Desc
	away  bool // the daemon did not answer the last one, and that was said; whose turn it is
}

func newExporter(dial func() (*control, error), limit time.Duration, errs io.Writer) *exporter {
	e := &exporter{dial: dial, limit: limit, turn: make(chan struct{}, 1), log: log.New(errs, "smtp-gatectl: ", 0)}
	for m := imsg.NoMetric + 1; m < imsg.Metrics; m++ {
		row := imsg.MetricTable[m]
		e.descs[m] = prometheus.NewDesc(row.Name, row.Help, row.Labels, nil)
	}
	return e
}

// Describe implements prometheus.Collector.
func (e *exporter) Describe(to chan<- *prometheus.Desc) {
	for _, d := range e.descs[1:] {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (e *exporter) Collect(to chan<- prometheus.Metric) {
	r := e.status()
	if r == nil {
		to <- e.metric(sample{metric: imsg.MetricUp})
		return
	}
	for _, s := range samples(r) {
		to <- e.metric(s)
	}
}

// metric is s as the library has it.
func (e *exporter) metric(s sample) (m prometheus.Metric) {
	var err error
	desc, kind := e.descs[s.metric], imsg.MetricTable[s.metric].Kind
	switch kind {
	case imsg.HistogramMetric:
		var count uint64
		buckets := make(map[float64]uint64, len(imsg.TimeBounds))
		for i, n := range s.counts {
			count = sum(count, n)
			if i < len(imsg.TimeBounds) {
				buckets[imsg.TimeBounds[i].Seconds()] = count
			}
		}
		m, err = prometheus.NewConstHistogram(desc, count, s.value, buckets, s.labels...)
	case imsg.CounterMetric:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.value, s.labels...)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.value, s.labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

// sum adds, and stays at the largest number there is.
func sum(a, b uint64) uint64 {
	if a+b < a {
		return 1<<64 - 1
	}
	return a + b
}

// status asks for the status; nil if there is no answer in time.
func (e *exporter) status() *imsg.StatusReport {
	end := time.Now().Add(e.limit)
	select {
	case e.turn <- struct{}{}:
	case <-time.After(e.limit):
		return nil
	}
	defer func() { <-e.turn }()
	r, err := e.ask(end)
	switch {
	case err != nil && !e.away:
		e.log.Printf("the daemon does not answer: %v", err)
	case err == nil && e.away:
		e.log.Print("the daemon answers again")
	}
	e.away = err != nil
	return r
}

func (e *exporter) ask(end time.Time) (*imsg.StatusReport, error) {
	c, err := e.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return ask(c, &imsg.Status{}, max(time.Until(end), time.Millisecond))
}
