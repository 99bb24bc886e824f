package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, dir string, maxBytes int64) *ledger {
	t.Helper()
	l, err := openLedger(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func acknowledge(t *testing.T, l *ledger, key string) uint64 {
	t.Helper()
	version, err := l.issue()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.acknowledged(key, version); err != nil {
		t.Fatal(err)
	}
	return version
}

func TestWhatWasAcknowledgedSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	id := l.id
	acknowledge(t, l, "a")
	want := acknowledge(t, l, "a")
	l.close()
	l = open(t, dir, 1<<20)
	defer l.close()
	if l.id != id || l.get("a").acked != want || l.totals().acked != 2 {
		t.Fatalf("after a restart: id %s (was %s), a at %d (was %d), total %d", l.id, id, l.get("a").acked, want, l.totals().acked)
	}
	if next, _ := l.issue(); next <= want {
		t.Fatalf("version %d was handed out again", next)
	}
}

func TestATornLastLineIsCutOffAndWritingGoesOn(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	want := acknowledge(t, l, "a")
	l.close()
	path := filepath.Join(dir, ledgerFile)
	whole, _ := os.ReadFile(path)
	torn := line(fmt.Sprintf("A a %d", want+1))
	for cut := 1; cut < len(torn); cut++ {
		if err := os.WriteFile(path, append(append([]byte{}, whole...), torn[:cut]...), 0o644); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, 1<<20)
		if got := l.get("a").acked; got != want {
			t.Fatalf("cut after %d bytes: a at %d, want %d", cut, got, want)
		}
		acknowledge(t, l, "b")
		l.close()
		l = open(t, dir, 1<<20)
		if l.get("b").acked == 0 {
			t.Fatalf("cut after %d bytes: what came after it is gone", cut)
		}
		l.close()
	}
}

func TestDamageInTheMiddleIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	acknowledge(t, l, "a")
	acknowledge(t, l, "b")
	l.close()
	path := filepath.Join(dir, ledgerFile)
	whole, _ := os.ReadFile(path)
	whole[len(whole)/2] ^= 1
	_ = os.WriteFile(path, whole, 0o644)
	if _, err := openLedger(dir, 1<<20); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("a damaged ledger was opened: %v", err)
	}
}

func TestASecondWriterIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 1<<20)
	defer l.close()
	if _, err := openLedger(dir, 1<<20); err == nil {
		t.Fatal("two writers have the ledger")
	}
}

func TestTheFileStaysBoundedAndKeepsItsContent(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 8<<10)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 200 {
				acknowledge(t, l, fmt.Sprintf("k%d-%d", w, i%10))
			}
		})
	}
	group.Wait()
	want, _ := l.snapshot()
	if err := l.undetermined("k0-0", 1<<40); err != nil {
		t.Fatal(err)
	}
	l.close()
	if stat, _ := os.Stat(filepath.Join(dir, ledgerFile)); stat.Size() > 16<<10 {
		t.Fatalf("the ledger has grown to %d bytes", stat.Size())
	}
	l = open(t, dir, 8<<10)
	defer l.close()
	got, openWrites := l.snapshot()
	if len(got) != 40 || openWrites != 1 || l.totals().acked != 800 {
		t.Fatalf("%d keys, %d open, %d in all", len(got), openWrites, l.totals().acked)
	}
	for key, version := range want {
		if got[key] != version {
			t.Fatalf("%s at %d, want %d", key, got[key], version)
		}
	}
}

type fake map[string][]byte

func (f fake) read(_ context.Context, keys []string) (map[string][]byte, error) {
	found := map[string][]byte{}
	for _, key := range keys {
		if value, ok := f[key]; ok {
			found[key] = value
		}
	}
	return found, nil
}

func TestTheComparisonTellsKeptLostAndIndeterminateApart(t *testing.T) {
	l := open(t, t.TempDir(), 1<<20)
	defer l.close()
	stored := fake{}
	put := func(key string, version uint64) { stored[key] = encodeValue(l.id, key, version, 100) }
	for _, key := range []string{"kept", "missing", "older", "newer", "damaged", "foreign", "swapped"} {
		acknowledge(t, l, key)
		put(key, acknowledge(t, l, key))
	}
	delete(stored, "missing")
	put("older", l.get("older").acked-1)
	put("newer", l.get("newer").acked+100)
	stored["damaged"][60] ^= 1
	stored["foreign"] = encodeValue("0123", "foreign", l.get("foreign").acked, 100)
	stored["swapped"] = stored["kept"]
	r := verify(context.Background(), l, stored)
	if r.Acknowledged != 7 || r.Verified != 1 || r.LedgerLost != 5 || r.Indeterminate != 1 || r.Unreadable != 0 || r.ok() {
		t.Fatalf("%+v", r)
	}
	var names []string
	for _, key := range r.LostKeys {
		names = append(names, key.Key)
	}
	if got := strings.Join(names, " "); got != "damaged foreign missing older swapped" {
		t.Fatalf("lost: %s", got)
	}
	if err := l.forget("missing"); err != nil {
		t.Fatal(err)
	}
	if r := verify(context.Background(), l, stored); r.LedgerLost != 4 {
		t.Fatalf("a forgotten key still counts: %+v", r)
	}
}

func TestABrokenLedgerAcknowledgesNothing(t *testing.T) {
	l := open(t, t.TempDir(), 1<<20)
	l.file.Close()
	if err := l.acknowledged("a", 1); err == nil {
		t.Fatal("a write was acknowledged that no disk has seen")
	}
	if l.get("a").acked != 0 || l.totals().broken == nil {
		t.Fatal("the ledger does not say that it is broken")
	}
}
