// The HTTP side: metrics, the ledger's state, and the comparison on demand.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	verifyTimeout = 50 * time.Second
	probeTimeout  = 10 * time.Second
)

func (l *load) handler() http.Handler {
	mux := http.NewServeMux()
	// One comparison at a time; a second caller waits for its turn rather than doubling the reads.
	var comparing sync.Mutex
	compare := func(ctx context.Context) report {
		comparing.Lock()
		defer comparing.Unlock()
		result := verify(ctx, l.ledger, l.store)
		l.metrics.verified(result)
		return result
	}
	watch := newWatcher(func() (string, uint64) { return l.ledger.id, l.ledger.totals().acked }, compare)
	answer := func(w http.ResponseWriter, status int, value any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(l.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if broken := l.ledger.totals().broken; broken != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"ok": false, "error": broken.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"ok": true})
	})
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, l.state()) })
	// The result is in the body also when something is lost: a proxy in between would hide the body of an error.
	mux.HandleFunc("/verify", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), verifyTimeout)
		defer cancel()
		result := compare(ctx)
		watch.saw(result)
		answer(w, http.StatusOK, result)
	})
	mux.HandleFunc("GET /verdict", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, watch.latest()) })
	mux.HandleFunc("/probe", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		answer(w, http.StatusOK, probeResult(ctx, l.store))
	})
	mux.HandleFunc("POST /put", l.onKey(answer, func(ctx context.Context, key string) error { return l.write(ctx, key) }))
	mux.HandleFunc("POST /forget", l.onKey(answer, func(_ context.Context, key string) error { return l.ledger.forget(key) }))
	mux.HandleFunc("POST /delete", l.onKey(answer, func(ctx context.Context, key string) error {
		_, err := l.store.remove(ctx, key)
		return err
	}))
	return mux
}

func (l *load) onKey(answer func(http.ResponseWriter, int, any), act func(context.Context, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.URL.Query().Get("key")
		if !strings.HasPrefix(key, rotatingPrefix) && !strings.HasPrefix(key, pinnedPrefix) {
			answer(w, http.StatusBadRequest, map[string]any{"ok": false, "error": fmt.Sprintf("key must begin with %s or %s", rotatingPrefix, pinnedPrefix)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), l.options.timeout)
		defer cancel()
		if err := act(ctx, key); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]any{"ok": false, "key": key, "error": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{"ok": true, "key": key})
	}
}

type probed struct {
	OK           bool    `json:"ok"`
	Milliseconds float64 `json:"milliseconds"`
	Error        string  `json:"error,omitempty"`
}

func probeResult(ctx context.Context, s *store) probed {
	if err := s.waitConnected(ctx); err != nil {
		return probed{Error: err.Error()}
	}
	took, err := probe(ctx, s)
	result := probed{OK: err == nil, Milliseconds: float64(took.Microseconds()) / 1000}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

type ledgerState struct {
	LedgerID          string    `json:"ledgerId"`
	Keys              int       `json:"keys"`
	AcknowledgedKeys  int       `json:"acknowledgedKeys"`
	AcknowledgedTotal uint64    `json:"acknowledgedTotal"`
	UndeterminedTotal uint64    `json:"undeterminedTotal"`
	OpenWrites        int       `json:"openWrites"`
	LastAcknowledged  time.Time `json:"lastAcknowledged"`
	LastFailure       string    `json:"lastFailure,omitempty"`
	LastFailureAt     string    `json:"lastFailureAt,omitempty"`
	P99Milliseconds   float64   `json:"p99Milliseconds"`
}

func (l *load) state() ledgerState {
	acked, open := l.ledger.snapshot()
	totals := l.ledger.totals()
	s := ledgerState{
		LedgerID: l.ledger.id, Keys: totals.keys, AcknowledgedKeys: len(acked), AcknowledgedTotal: totals.acked, UndeterminedTotal: totals.undetermined,
		OpenWrites: open, LastAcknowledged: time.Unix(0, l.lastSuccess.Load()).UTC(), P99Milliseconds: float64(l.metrics.p99().Microseconds()) / 1000,
	}
	if last := l.lastFailure.Load(); last != nil {
		s.LastFailure, s.LastFailureAt = last.cause, last.at.UTC().Format(time.RFC3339)
	}
	return s
}
