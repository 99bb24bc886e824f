// The comparison: reads back every acknowledged write and compares it with the ledger.
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
	// Indeterminate counts keys with a later write of ours whose acknowledgement never arrived: neither lost nor kept.
	Indeterminate int `json:"indeterminate"`
	// Unreadable counts keys that TiKV did not return in time.
	Unreadable int `json:"unreadable"`
	// OpenWrites counts writes with an unknown outcome that no acknowledged one has followed.
	OpenWrites int    `json:"openWrites"`
	LostKeys   []lost `json:"lostKeys"`
	// AcknowledgedTotal counts every acknowledged write since the ledger began, including overwritten ones.
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
	// A batch is tried again until verifyTimeout, because a leader may be moving.
	batchTimeout = 10 * time.Second
)

type reader interface {
	read(ctx context.Context, keys []string) (map[string][]byte, error)
}

// verify compares the ledger with what TiKV returns now. Writers may continue meanwhile: a write that is acknowledged
// after the read does not count as lost.
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
			result, reason := compareKey(l.id, key, acked[key], l.get(key).acked, values[key])
			switch result {
			case resultKept:
				r.Verified++
			case resultIndeterminate:
				r.Indeterminate++
			case resultLost:
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

type keyResult int

const (
	resultKept keyResult = iota
	resultIndeterminate
	resultLost
)

// compareKey compares one key. before and after are the acknowledged versions around the read; value is nil if the key
// is missing.
func compareKey(ledgerID, key string, before, after uint64, value []byte) (keyResult, string) {
	if value == nil {
		if after == 0 {
			return resultIndeterminate, "" // forgotten while we read
		}
		return resultLost, "missing"
	}
	version, err := decodeValue(ledgerID, key, value)
	switch {
	case err != nil:
		return resultLost, err.Error()
	case version < before:
		return resultLost, "an older write is back"
	case version == before || version <= after:
		return resultKept, ""
	default:
		// Only this ledger assigns versions, so a newer one is a write of ours that was not acknowledged (yet).
		return resultIndeterminate, ""
	}
}
