// The write ledger: what TiKV has acknowledged, remembered on a disk of its own, so that it can be compared at any time.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The file is a sequence of lines "<crc32> <record>\n", only ever appended to, and rewritten as a whole when it has grown:
//
//	L <ledger id>           the first line
//	R <version>             versions below this may have been handed out
//	A <key> <version>       TiKV acknowledged this write
//	U <key> <version>       the commit's outcome is not known
//	X <key>                 forget this key
//	T <acked> <undetermined> totals, when the file was rewritten
const (
	ledgerFile = "ledger.log"
	// reserveStep is how many versions one R record sets aside; a restart skips at most that many.
	reserveStep = 10_000
)

// errLedgerBroken stops the load: a write that cannot be remembered must not be counted as acknowledged.
var errLedgerBroken = errors.New("the ledger cannot be written")

type entry struct {
	// acked is the latest acknowledged version, 0 if none.
	acked uint64
	// undetermined is the latest version whose outcome is unknown and which no acknowledged one has followed, 0 if none.
	undetermined uint64
}

type ledger struct {
	id       string
	dir      string
	maxBytes int64

	mu      sync.Mutex
	entries map[string]entry
	next    uint64
	// reserved bounds next: a version is handed out only below what the file says.
	reserved     uint64
	ackedTotal   uint64
	unknownTotal uint64
	broken       error

	file    *os.File
	size    int64
	pending []byte
	waiting []chan error
	wake    chan struct{}
	closed  chan struct{}
}

// openLedger replays the file, cuts off a torn last line, and takes the lock that keeps a second writer out.
func openLedger(dir string, maxBytes int64) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l := &ledger{dir: dir, maxBytes: maxBytes, entries: map[string]entry{}, next: 1, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	file, err := os.OpenFile(filepath.Join(dir, ledgerFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("ledger %s is in use by another process: %w", dir, err)
	}
	good, err := l.replay(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	if err := file.Truncate(good); err != nil {
		return nil, err
	}
	if _, err := file.Seek(good, io.SeekStart); err != nil {
		return nil, err
	}
	l.file, l.size = file, good
	if l.id == "" {
		l.id = randomID()
		l.pending = append(l.pending, line("L "+l.id)...)
	}
	// Versions handed out before a crash are not known: go on above all that may have been.
	l.next = max(l.next, l.reserved)
	l.reserve()
	go l.flushLoop()
	if err := l.sync(); err != nil {
		return nil, err
	}
	return l, nil
}

// replay applies every whole line and returns how many bytes of the file are good. A bad line in the middle is an error: an
// append-only file breaks at its end or not at all.
func (l *ledger) replay(r io.Reader) (int64, error) {
	reader := bufio.NewReaderSize(r, 1<<20)
	var good int64
	for {
		text, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return good, nil // what is left has no line end: torn
		}
		if err != nil {
			return 0, err
		}
		record, ok := unline(text)
		if !ok {
			if _, err := reader.Peek(1); errors.Is(err, io.EOF) {
				return good, nil
			}
			return 0, fmt.Errorf("ledger is damaged at byte %d: %q", good, text)
		}
		if err := l.apply(record); err != nil {
			return 0, fmt.Errorf("ledger at byte %d: %w", good, err)
		}
		good += int64(len(text))
	}
}

func (l *ledger) apply(record string) error {
	fields := strings.Fields(record)
	number := func(i int) uint64 {
		if i >= len(fields) {
			return 0
		}
		value, _ := strconv.ParseUint(fields[i], 10, 64)
		return value
	}
	if len(fields) < 2 {
		return fmt.Errorf("short record %q", record)
	}
	switch fields[0] {
	case "L":
		l.id = fields[1]
	case "R":
		l.reserved = max(l.reserved, number(1))
	case "T":
		l.ackedTotal, l.unknownTotal = number(1), number(2)
	case "A":
		l.ackedTotal++
		l.entries[fields[1]] = entry{acked: number(2)}
	case "S": // state of a key when the file was rewritten: key, acked, undetermined
		l.entries[fields[1]] = entry{acked: number(2), undetermined: number(3)}
	case "U":
		l.unknownTotal++
		e := l.entries[fields[1]]
		e.undetermined = number(2)
		l.entries[fields[1]] = e
	case "X":
		delete(l.entries, fields[1])
	default:
		return fmt.Errorf("unknown record %q", record)
	}
	return nil
}

// issue hands out a version that no earlier write of this ledger has had.
func (l *ledger) issue() (uint64, error) {
	l.mu.Lock()
	if l.next < l.reserved {
		version := l.next
		l.next++
		l.mu.Unlock()
		return version, nil
	}
	l.reserve()
	l.mu.Unlock()
	if err := l.sync(); err != nil {
		return 0, err
	}
	return l.issue()
}

// reserve must be called with the lock held (or before others know the ledger).
func (l *ledger) reserve() {
	l.reserved = l.next + reserveStep
	l.pending = append(l.pending, line(fmt.Sprintf("R %d", l.reserved))...)
}

// acknowledged returns once the record is on the disk; only then does the write count.
func (l *ledger) acknowledged(key string, version uint64) error {
	return l.record(fmt.Sprintf("A %s %d", key, version))
}

func (l *ledger) undetermined(key string, version uint64) error {
	return l.record(fmt.Sprintf("U %s %d", key, version))
}

func (l *ledger) forget(key string) error { return l.record("X " + key) }

func (l *ledger) record(record string) error {
	l.mu.Lock()
	if l.broken != nil {
		defer l.mu.Unlock()
		return l.broken
	}
	l.pending = append(l.pending, line(record)...)
	done := make(chan error, 1)
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.poke()
	if err := <-done; err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.apply(record)
}

func (l *ledger) sync() error {
	l.mu.Lock()
	done := make(chan error, 1)
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.poke()
	return <-done
}

func (l *ledger) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flushLoop writes what has gathered with one fsync for all.
func (l *ledger) flushLoop() {
	for {
		select {
		case <-l.closed:
			return
		case <-l.wake:
		}
		l.mu.Lock()
		bytes, waiting := l.pending, l.waiting
		l.pending, l.waiting = nil, nil
		l.mu.Unlock()
		err := l.append(bytes)
		for _, done := range waiting {
			done <- err
		}
		if err == nil && l.size > l.maxBytes {
			if err := l.rewrite(); err != nil {
				l.fail(err)
			}
		}
	}
}

func (l *ledger) append(bytes []byte) error {
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	if broken != nil {
		return broken
	}
	if _, err := l.file.Write(bytes); err != nil {
		return l.fail(err)
	}
	if err := l.file.Sync(); err != nil {
		return l.fail(err)
	}
	l.size += int64(len(bytes))
	return nil
}

func (l *ledger) fail(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = fmt.Errorf("%w: %w", errLedgerBroken, cause)
	}
	return l.broken
}

// rewrite replaces the file by the present state, atomically. A record that was flushed but not yet applied to the entries would
// be missing from it, so nothing is rewritten while any writer is between the two: record holds the entry until then.
func (l *ledger) rewrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Replaying the old file is the one way to see all that is durable, applied or not.
	durable := &ledger{entries: map[string]entry{}}
	old, err := os.Open(filepath.Join(l.dir, ledgerFile))
	if err != nil {
		return err
	}
	_, err = durable.replay(old)
	old.Close()
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(durable.entries))
	for key := range durable.entries {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var out strings.Builder
	out.Write(line("L " + durable.id))
	out.Write(line(fmt.Sprintf("R %d", durable.reserved)))
	out.Write(line(fmt.Sprintf("T %d %d", durable.ackedTotal, durable.unknownTotal)))
	for _, key := range keys {
		e := durable.entries[key]
		out.Write(line(fmt.Sprintf("S %s %d %d", key, e.acked, e.undetermined)))
	}
	path := filepath.Join(l.dir, ledgerFile)
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	if _, err := file.WriteString(out.String()); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if dir, err := os.Open(l.dir); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	l.file.Close()
	l.file, l.size = file, int64(out.Len())
	return nil
}

func (l *ledger) close() {
	_ = l.sync()
	close(l.closed)
	l.file.Close()
}

func (l *ledger) get(key string) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries[key]
}

// snapshot copies the entries that hold an acknowledged write, and counts the writes whose outcome is open.
func (l *ledger) snapshot() (acked map[string]uint64, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked = make(map[string]uint64, len(l.entries))
	for key, e := range l.entries {
		if e.acked > 0 {
			acked[key] = e.acked
		}
		if e.undetermined > e.acked {
			open++
		}
	}
	return acked, open
}

type ledgerTotals struct {
	acked, undetermined uint64
	keys                int
	broken              error
}

func (l *ledger) totals() ledgerTotals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ledgerTotals{acked: l.ackedTotal, undetermined: l.unknownTotal, keys: len(l.entries), broken: l.broken}
}

func line(record string) []byte {
	return []byte(fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE([]byte(record)), record))
}

func unline(text string) (string, bool) {
	sum, record, ok := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	return record, ok && sum == fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(record)))
}

func randomID() string {
	bytes := make([]byte, 8)
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}
