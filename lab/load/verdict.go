// The verdict: what the last comparison said, and how old it is. Asking costs nothing; being asked keeps it fresh.
package main

import (
	"context"
	"sync"
	"time"
)

const (
	// verdictRefresh is how old a comparison may be before being asked starts the next one.
	verdictRefresh = 10 * time.Second
	// verdictFresh is how old a comparison may be and still count.
	verdictFresh = 30 * time.Second
)

type verdictState struct {
	// OK says that the last comparison is fresh and found nothing lost and nothing unreadable.
	OK bool `json:"ok"`
	// LedgerID is another one when somebody has begun a new ledger; AcknowledgedTotal only ever grows.
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

// watcher compares in the background while somebody asks, one comparison at a time, and not at all while nobody does.
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

// verdict answers at once with what is known, and sees to it that the next answer knows more.
func (w *watcher) verdict() verdictState {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if !w.running && (w.last == nil || now.Sub(w.last.At) >= verdictRefresh) {
		w.running = true
		go w.refresh()
	}
	id, total := w.ledger()
	if w.last == nil {
		return verdictState{LedgerID: id, AcknowledgedTotal: total, LostKeys: []lost{}, AgeSeconds: -1}
	}
	r := *w.last
	// The age of what was seen: a comparison that took long began long ago.
	age := now.Sub(r.At)
	return verdictState{
		LedgerID: id, AcknowledgedTotal: total,
		OK: r.ok() && age < verdictFresh, LedgerLost: r.LedgerLost, Unreadable: r.Unreadable, Verified: r.Verified, Indeterminate: r.Indeterminate,
		Acknowledged: r.Acknowledged, LostKeys: r.LostKeys, Error: r.Error, At: r.At, AgeSeconds: int(age.Seconds()),
	}
}

// saw takes over a comparison that was made on demand.
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
