package main

import (
	"context"
	"testing"
	"time"
)

// clocked gives a watcher whose comparisons the test answers one by one.
func clocked() (*watcher, *time.Time, chan report, chan struct{}) {
	now := time.Unix(1_000_000, 0)
	answers, asked := make(chan report), make(chan struct{}, 10)
	w := newWatcher(func() (string, uint64) { return "id", 9 }, func(context.Context) report {
		asked <- struct{}{}
		return <-answers
	})
	w.now = func() time.Time { return now }
	return w, &now, answers, asked
}

func (w *watcher) settled(t *testing.T) {
	t.Helper()
	for range 1000 {
		w.mu.Lock()
		running := w.running
		w.mu.Unlock()
		if !running {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the comparison did not end")
}

func TestTheResultIsNotGoodBeforeTheFirstComparison(t *testing.T) {
	w, now, answers, asked := clocked()
	if v := w.latest(); v.OK || v.AgeSeconds != -1 || v.LedgerID != "id" || v.AcknowledgedTotal != 9 {
		t.Fatalf("before the first comparison: %+v", v)
	}
	<-asked
	// Asking again starts no second one.
	w.latest()
	answers <- report{Acknowledged: 5, Verified: 5, At: *now}
	w.settled(t)
	if v := w.latest(); !v.OK || v.Verified != 5 || v.AgeSeconds != 0 {
		t.Fatalf("after it: %+v", v)
	}
	if len(asked) != 0 {
		t.Fatal("two comparisons at a time, or one too soon")
	}
}

func TestTheResultAgesAndBeingAskedRefreshesIt(t *testing.T) {
	w, now, answers, asked := clocked()
	w.saw(report{Verified: 5, At: *now})
	*now = now.Add(resultRefresh)
	if v := w.latest(); !v.OK || v.AgeSeconds != 10 {
		t.Fatalf("old enough for a refresh, fresh enough to count: %+v", v)
	}
	<-asked
	*now = now.Add(resultFresh)
	if v := w.latest(); v.OK {
		t.Fatalf("a comparison that hangs counts no more: %+v", v)
	}
	answers <- report{Verified: 4, LedgerLost: 1, LostKeys: []lost{{Key: "k"}}, At: *now}
	w.settled(t)
	if v := w.latest(); v.OK || v.LedgerLost != 1 || len(v.LostKeys) != 1 {
		t.Fatalf("a lost write: %+v", v)
	}
}

func TestTheResultTakesOverWhatWasComparedOnDemand(t *testing.T) {
	w, now, _, _ := clocked()
	w.saw(report{Unreadable: 256, At: *now})
	if v := w.latest(); v.OK || v.Unreadable != 256 {
		t.Fatalf("unreadable keys are not well: %+v", v)
	}
	w.saw(report{Verified: 1, At: now.Add(-time.Minute)})
	if v := w.latest(); v.Unreadable != 256 {
		t.Fatalf("an older comparison does not replace a newer one: %+v", v)
	}
}
