// The client of TiKV: transactions with a time limit, on a connection that is replaced when it is stale.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/txnkv"
)

type store struct {
	endpoints []string

	mu     sync.Mutex
	client *txnkv.Client
	// dialing holds back a second attempt while one is under way.
	dialing bool
}

var errNotConnected = errors.New("not connected to PD")

// connected returns the client, or starts to create one. Dialling can hang for long, so it happens in the background.
func (s *store) connected() (*txnkv.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	if !s.dialing {
		s.dialing = true
		go s.dial()
	}
	return nil, errNotConnected
}

func (s *store) dial() {
	client, err := txnkv.NewClient(s.endpoints)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = false
	if err == nil {
		s.client = client
	}
}

// waitConnected is for one-shot commands.
func (s *store) waitConnected(ctx context.Context) error {
	for {
		if _, err := s.connected(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errNotConnected
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// renew drops the connection: after a long outage client-go may hold on to addresses that nobody answers any more.
func (s *store) renew() {
	s.mu.Lock()
	old := s.client
	s.client = nil
	s.mu.Unlock()
	if old != nil {
		go old.Close()
	}
}

type outcome int

const (
	committed outcome = iota
	// failed: nothing was written, or it cannot matter.
	failed
	// unknown: the commit may or may not have happened.
	unknown
)

// put reads and then writes the key in one transaction.
func (s *store) put(ctx context.Context, key string, value []byte) (outcome, error) {
	client, err := s.connected()
	if err != nil {
		return failed, err
	}
	txn, err := within(ctx, func() (*txnkv.KVTxn, error) { return client.Begin() })
	if err != nil {
		return failed, err
	}
	if _, err := txn.Get(ctx, []byte(key)); err != nil && !tikverr.IsErrNotFound(err) {
		_ = txn.Rollback()
		return failed, err
	}
	if err := txn.Set([]byte(key), value); err != nil {
		_ = txn.Rollback()
		return failed, err
	}
	return commit(ctx, txn)
}

func (s *store) remove(ctx context.Context, key string) (outcome, error) {
	client, err := s.connected()
	if err != nil {
		return failed, err
	}
	txn, err := within(ctx, func() (*txnkv.KVTxn, error) { return client.Begin() })
	if err != nil {
		return failed, err
	}
	if err := txn.Delete([]byte(key)); err != nil {
		return failed, err
	}
	return commit(ctx, txn)
}

// commit sorts the ways in which a commit can end. Every doubt is "unknown": the ledger must never call a lost write kept, nor an
// unwritten one lost.
func commit(ctx context.Context, txn *txnkv.KVTxn) (outcome, error) {
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, txn.Commit(ctx) })
	if err == nil {
		return committed, nil
	}
	var conflict *tikverr.ErrWriteConflict
	if errors.As(err, &conflict) {
		return failed, err
	}
	return unknown, err
}

// read returns the values of keys at a fresh timestamp; a missing key is missing in the map.
func (s *store) read(ctx context.Context, keys []string) (map[string][]byte, error) {
	client, err := s.connected()
	if err != nil {
		return nil, err
	}
	return within(ctx, func() (map[string][]byte, error) {
		ts, err := client.CurrentTimestamp(oracle.GlobalTxnScope)
		if err != nil {
			return nil, err
		}
		raw := make([][]byte, len(keys))
		for i, key := range keys {
			raw[i] = []byte(key)
		}
		return client.GetSnapshot(ts).BatchGet(ctx, raw)
	})
}

// split cuts the key space into regions, so that all stores have leaders; an existing border is no error.
func (s *store) split(ctx context.Context, keys []string) error {
	client, err := s.connected()
	if err != nil {
		return err
	}
	raw := make([][]byte, len(keys))
	for i, key := range keys {
		raw[i] = []byte(key)
	}
	_, err = within(ctx, func() ([]uint64, error) { return client.SplitRegions(ctx, raw, false, nil) })
	return err
}

// collect lets TiKV forget versions older than age; without TiDB beside it nobody else would tell it to.
func (s *store) collect(ctx context.Context, age time.Duration) error {
	client, err := s.connected()
	if err != nil {
		return err
	}
	_, err = within(ctx, func() (uint64, error) {
		ts, err := client.CurrentTimestamp(oracle.GlobalTxnScope)
		if err != nil {
			return 0, err
		}
		before := oracle.GoTimeToTS(oracle.GetTimeFromTS(ts).Add(-age))
		return client.GetPDClient().UpdateGCSafePoint(ctx, before)
	})
	return err
}

// within gives up on a call when the context ends, also on those of client-go that have no context or do not look at it.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("gave up waiting for TiKV: %w", ctx.Err())
	}
}
