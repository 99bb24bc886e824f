// The load itself: writers that go round the key space at a modest rate and put every acknowledged commit into the ledger.
package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

type loadOptions struct {
	rate      int
	workers   int
	keys      int
	pinned    int
	valueSize int
	regions   int
	timeout   time.Duration
	gcAge     time.Duration
}

const (
	// renewAfter is how long nothing may succeed before a new connection is opened.
	renewAfter = 45 * time.Second
	gcEvery    = time.Minute
	// While a cluster is young PD splits regions itself; a split of ours that meets one of PD's is dropped without a word, so we ask
	// a few times. Borders that are there already cost nothing.
	splitRounds = 3
	splitEvery  = 5 * time.Second
)

type load struct {
	options loadOptions
	store   *store
	ledger  *ledger
	metrics *loadMetrics

	lastSuccess atomic.Int64
	lastFailure atomic.Pointer[failure]
}

type failure struct {
	at    time.Time
	cause string
}

func newLoad(options loadOptions, s *store, l *ledger) *load {
	return &load{options: options, store: s, ledger: l, metrics: newLoadMetrics(l)}
}

// run writes until the context ends.
func (l *load) run(ctx context.Context) {
	l.lastSuccess.Store(time.Now().UnixNano())
	var group sync.WaitGroup
	turns := make(chan int)
	for range l.options.workers {
		group.Go(func() {
			for n := range turns {
				l.write(ctx, rotatingKey(n))
			}
		})
	}
	group.Go(func() { l.housekeeping(ctx) })
	group.Go(func() { l.pin(ctx) })

	tick := time.NewTicker(time.Second / time.Duration(l.options.rate))
	defer tick.Stop()
	// One turn after the other over distinct keys: with fewer workers than keys no key has two writers at a time.
	for n := 0; ; n = (n + 1) % l.options.keys {
		select {
		case <-ctx.Done():
			close(turns)
			group.Wait()
			return
		case <-tick.C:
		}
		select {
		case turns <- n:
		case <-ctx.Done():
		}
	}
}

// pin writes the keys that stay; it tries until each has an acknowledged write.
func (l *load) pin(ctx context.Context) {
	for n := 0; n < l.options.pinned; n++ {
		key := pinnedKey(n)
		for l.ledger.get(key).acked == 0 && ctx.Err() == nil {
			if err := l.write(ctx, key); err != nil {
				sleep(ctx, time.Second)
			}
		}
	}
}

// write does one transaction and one entry in the ledger.
func (l *load) write(ctx context.Context, key string) error {
	version, err := l.ledger.issue()
	if err != nil {
		l.broken(err)
		sleep(ctx, time.Second)
		return err
	}
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.timeout)
	defer cancel()
	begin := time.Now()
	result, err := l.store.put(attempt, key, encodeValue(l.ledger.id, key, version, l.options.valueSize))
	took := time.Since(begin)
	l.metrics.observe(result, took)
	switch result {
	case committed:
		l.lastSuccess.Store(time.Now().UnixNano())
		if err := l.ledger.acknowledged(key, version); err != nil {
			l.broken(err)
			return err
		}
	case unknown:
		l.failed(key, err)
		if err := l.ledger.undetermined(key, version); err != nil {
			l.broken(err)
		}
	case failed:
		l.failed(key, err)
		// Without a connection every turn fails at once; do not spin.
		if errors.Is(err, errNotConnected) {
			sleep(ctx, 500*time.Millisecond)
		}
	}
	return err
}

func (l *load) failed(key string, cause error) {
	last := l.lastFailure.Swap(&failure{at: time.Now(), cause: cause.Error()})
	if last == nil || time.Since(last.at) > 5*time.Second {
		slog.Warn("a transaction failed", "key", key, "cause", cause)
	}
}

func (l *load) broken(cause error) {
	slog.Error("the ledger cannot be written; no write counts as acknowledged until it can", "cause", cause)
}

func (l *load) housekeeping(ctx context.Context) {
	splits, nextSplit := 0, time.Now()
	lastGC := time.Now()
	for ctx.Err() == nil {
		if splits < splitRounds && l.options.regions > 1 && time.Now().After(nextSplit) {
			attempt, cancel := context.WithTimeout(ctx, 20*time.Second)
			err := l.store.split(attempt, l.borders())
			cancel()
			if err == nil {
				splits++
				nextSplit = time.Now().Add(splitEvery)
			} else if !errors.Is(err, errNotConnected) {
				slog.Warn("splitting the key space failed, will try again", "cause", err)
			}
		}
		if time.Since(lastGC) > gcEvery {
			lastGC = time.Now()
			attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
			if err := l.store.collect(attempt, l.options.gcAge); err != nil {
				slog.Warn("moving the GC safe point failed", "cause", err)
			}
			cancel()
		}
		if last := time.Unix(0, l.lastSuccess.Load()); time.Since(last) > renewAfter {
			slog.Warn("nothing has succeeded for a while, reconnecting", "since", last.UTC())
			l.lastSuccess.Store(time.Now().UnixNano())
			l.store.renew()
		}
		sleep(ctx, 2*time.Second)
	}
}

// borders cuts the rotating keys into equal parts.
func (l *load) borders() []string {
	var borders []string
	for i := range l.options.regions {
		borders = append(borders, rotatingKey(i*l.options.keys/l.options.regions))
	}
	return borders
}

// probe does one transactional put and get of a key of its own and removes it again.
func probe(ctx context.Context, s *store) (time.Duration, error) {
	begin := time.Now()
	key := probePrefix + randomID()
	value := encodeValue("probe", key, 1, 0)
	if _, err := s.put(ctx, key, value); err != nil {
		return time.Since(begin), err
	}
	values, err := s.read(ctx, []string{key})
	if err != nil {
		return time.Since(begin), err
	}
	if string(values[key]) != string(value) {
		return time.Since(begin), errors.New("what was put is not what is read")
	}
	took := time.Since(begin)
	if _, err := s.remove(ctx, key); err != nil {
		return took, err
	}
	return took, nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
