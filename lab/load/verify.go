// The comparison: everything that was acknowledged is read back and judged.
package main

import (
	"context"
	"sort"
	"time"
)

// report is the result of a comparison. acknowledged = verified + indeterminate + ledgerLost + unreadable, all counted in keys.
type report struct {
	LedgerID     string `json:"ledgerId"`
	Acknowledged int    `json:"acknowledged"`
	Verified     int    `json:"verified"`
	// LedgerLost counts keys whose acknowledged write is gone: missing, older, damaged or not ours.
	LedgerLost int `json:"ledgerLost"`
	// Indeterminate counts keys that hold a later write of ours whose acknowledgement never arrived: neither lost nor kept.
	Indeterminate int `json:"indeterminate"`
	// Unreadable counts keys that TiKV did not answer for in time.
	Unreadable int `json:"unreadable"`
	// OpenWrites counts writes with an unknown outcome that no acknowledged one has followed.
	OpenWrites int    `json:"openWrites"`
	LostKeys   []lost `json:"lostKeys"`
	// AcknowledgedTotal counts every acknowledged write since the ledger began, also the overwritten ones.
	AcknowledgedTotal uint64    `json:"acknowledgedTotal"`
	Error             string    `json:"error,omitempty"`
	At                time.Time `json:"at"`
	Seconds           float64   `json:"seconds"`
}

type lost struct {
	Key      string `json:"key"`
	Expected uint64 `json:"expectedVersion"`
	Reason   string `json:"reason"`
}

const (
	lostKeysShown = 20
	verifyBatch   = 256
	// batchAttempts spread over verifyTimeout: a leader may be moving at the very moment.
	batchTimeout = 10 * time.Second
)

type reader interface {
	read(ctx context.Context, keys []string) (map[string][]byte, error)
}

// verify compares the ledger with what TiKV returns now. Writers may go on meanwhile: what they acknowledge later than the read
// counts as the newer state that it is.
func verify(ctx context.Context, l *ledger, from reader) report {
	begin := time.Now()
	acked, open := l.snapshot()
	r := report{LedgerID: l.id, Acknowledged: len(acked), OpenWrites: open, LostKeys: []lost{}, At: begin.UTC(), AcknowledgedTotal: l.totals().acked}
	keys := make([]string, 0, len(acked))
	for key := range acked {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for len(keys) > 0 {
		batch := keys[:min(verifyBatch, len(keys))]
		keys = keys[len(batch):]
		values, err := readBatch(ctx, from, batch)
		if err != nil {
			r.Unreadable += len(batch)
			r.Error = err.Error()
			continue
		}
		for _, key := range batch {
			verdict, reason := judge(l.id, key, acked[key], l.get(key).acked, values[key])
			switch verdict {
			case verdictKept:
				r.Verified++
			case verdictIndeterminate:
				r.Indeterminate++
			case verdictLost:
				r.LedgerLost++
				if len(r.LostKeys) < lostKeysShown {
					r.LostKeys = append(r.LostKeys, lost{Key: key, Expected: acked[key], Reason: reason})
				}
			}
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r
}

func (r report) ok() bool { return r.LedgerLost == 0 && r.Unreadable == 0 }

func readBatch(ctx context.Context, from reader, keys []string) (map[string][]byte, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, batchTimeout)
		values, err := from.read(attempt, keys)
		cancel()
		if err == nil {
			return values, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(300 * time.Millisecond):
		}
	}
}

type verdict int

const (
	verdictKept verdict = iota
	verdictIndeterminate
	verdictLost
)

// judge decides about one key: before and after are the acknowledged versions around the read, value is nil if the key is missing.
func judge(ledgerID, key string, before, after uint64, value []byte) (verdict, string) {
	if value == nil {
		if after == 0 {
			return verdictIndeterminate, "" // forgotten while we read
		}
		return verdictLost, "missing"
	}
	version, err := decodeValue(ledgerID, key, value)
	switch {
	case err != nil:
		return verdictLost, err.Error()
	case version < before:
		return verdictLost, "an older write is back"
	case version == before || version <= after:
		return verdictKept, ""
	default:
		// Only this ledger hands out versions, so a newer one is a write of ours that was not acknowledged (yet).
		return verdictIndeterminate, ""
	}
}
