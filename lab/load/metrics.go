// The load's own numbers: what was acknowledged, what failed, and how long transactions take.
package main

import (
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// window is the span over which the p99 gauge looks back.
const window = 30 * time.Second

type loadMetrics struct {
	registry *prometheus.Registry
	results  *prometheus.CounterVec
	seconds  prometheus.Histogram

	mu     sync.Mutex
	recent []sample
	last   *report
}

type sample struct {
	at   time.Time
	took time.Duration
}

func newLoadMetrics(l *ledger) *loadMetrics {
	m := &loadMetrics{
		registry: prometheus.NewRegistry(),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "oplab_load_transactions_total", Help: "Transactions of this process by result",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "oplab_load_transaction_duration_seconds", Help: "Duration of transactions, failed ones included",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
	}
	for _, result := range []string{"acknowledged", "failed", "undetermined"} {
		m.results.WithLabelValues(result)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(m.results, m.seconds,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "oplab_load_acknowledged_total", Help: "Acknowledged writes since the ledger began",
		}, func() float64 { return float64(l.totals().acked) }),
		gauge("oplab_load_ledger_keys", "Keys in the ledger", func() float64 { return float64(l.totals().keys) }),
		gauge("oplab_load_transaction_p99_seconds", "99th percentile over the last 30 s", func() float64 { return m.p99().Seconds() }),
		gauge("oplab_load_ledger_lost", "Keys lost in the last comparison, -1 before the first", func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.last == nil {
				return -1
			}
			return float64(m.last.LedgerLost)
		}),
	)
	return m
}

func (m *loadMetrics) observe(result outcome, took time.Duration) {
	name := map[outcome]string{committed: "acknowledged", failed: "failed", unknown: "undetermined"}[result]
	m.results.WithLabelValues(name).Inc()
	m.seconds.Observe(took.Seconds())
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent = append(m.recent, sample{now, took})
	m.drop(now)
}

func (m *loadMetrics) drop(now time.Time) {
	old := sort.Search(len(m.recent), func(i int) bool { return now.Sub(m.recent[i].at) <= window })
	m.recent = append(m.recent[:0], m.recent[old:]...)
}

// p99 is 0 when nothing was tried in the window.
func (m *loadMetrics) p99() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(time.Now())
	if len(m.recent) == 0 {
		return 0
	}
	durations := make([]time.Duration, len(m.recent))
	for i, s := range m.recent {
		durations[i] = s.took
	}
	sort.Slice(durations, func(a, b int) bool { return durations[a] < durations[b] })
	return durations[(len(durations)*99-1)/100]
}

func (m *loadMetrics) verified(r report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = &r
}
