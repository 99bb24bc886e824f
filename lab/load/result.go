// Serves the result of the last comparison and its age. A request costs nothing, and starts a new comparison if the
// result is old.
package main

import (
	"context"
	"sync"
	"time"
)

const (
	// resultRefresh is the age at which a request starts the next comparison.
	resultRefresh = 10 * time.Second
	// resultFresh is the age from which a comparison no longer counts.
	resultFresh = 30 * time.Second
)

type latestResult struct {
	// OK is true if the last comparison is fresh and found nothing lost and nothing unreadable.
	OK bool `json:"ok"`
	// LedgerID changes with a new ledger; AcknowledgedTotal never decreases.
	LedgerID          string `json:"ledgerId"`
	AcknowledgedTotal uint64 `json:"acknowledgedTotal"`

	LedgerLost    int       `json:"ledgerLost"`
	Unreadable    int       `json:"unreadable"`
	Verified      int       `json:"verified"`
	Indeterminate int       `json:"indeterminate"`
	Acknowledged  int       `json:"acknowledged"`
	LostKeys      []lost    `json:"lostKeys"`
	Error         string    `json:"error,omitempty"`
	At            time.Time `json:"at"`
	// AgeSeconds is -1 before the first comparison.
	AgeSeconds int `json:"ageSeconds"`
}

// watcher compares in the background, one comparison at a time, and only while requests arrive.
type watcher struct {
	ledger  func() (id string, acknowledgedTotal uint64)
	compare func(context.Context) report
	now     func() time.Time

	mu      sync.Mutex
	last    *report
	running bool
}

func newWatcher(ledger func() (string, uint64), compare func(context.Context) report) *watcher {
	return &watcher{ledger: ledger, compare: compare, now: time.Now}
}

// latest returns the last result immediately, and starts a new comparison if the result is old.
func (w *watcher) latest() latestResult {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if !w.running && (w.last == nil || now.Sub(w.last.At) >= resultRefresh) {
		w.running = true
		go w.refresh()
	}
	id, total := w.ledger()
	if w.last == nil {
		return latestResult{LedgerID: id, AcknowledgedTotal: total, LostKeys: []lost{}, AgeSeconds: -1}
	}
	r := *w.last
	// The age counts from the start of the comparison, because that is when the data was read.
	age := now.Sub(r.At)
	return latestResult{
		LedgerID: id, AcknowledgedTotal: total,
		OK: r.ok() && age < resultFresh, LedgerLost: r.LedgerLost, Unreadable: r.Unreadable, Verified: r.Verified, Indeterminate: r.Indeterminate,
		Acknowledged: r.Acknowledged, LostKeys: r.LostKeys, Error: r.Error, At: r.At, AgeSeconds: int(age.Seconds()),
	}
}

// saw stores the result of a comparison that was made on demand.
func (w *watcher) saw(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || r.At.After(w.last.At) {
		w.last = &r
	}
}

func (w *watcher) refresh() {
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	r := w.compare(ctx)
	w.saw(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
}
