package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func loadText(t *testing.T, toml string) (*settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tikv.toml")
	if err := os.WriteFile(path, []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	return loadSettings(path)
}

func TestKnownKeysAreTaken(t *testing.T) {
	s, err := loadText(t, "[raftstore]\ncapacity = \"256MiB\"\npd-heartbeat-tick-interval = \"10s\"\n[server.labels]\nzone = \"a\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.size("raftstore.capacity") != 256<<20 || s.labels()["zone"] != "a" {
		t.Fatalf("capacity %d, labels %v", s.size("raftstore.capacity"), s.labels())
	}
}

func TestWhatTiKVWouldRefuseIsRefusedByName(t *testing.T) {
	for toml, want := range map[string]string{
		"[raftstore]\nraft-entry-maxsize = \"8MiB\"":                  "unknown configuration options: raftstore.raft-entry-maxsize",
		"[no-such-table]\na = 1":                                      "unknown configuration options: no-such-table",
		"[raftstore]\npd-heartbeat-tick-interval = \"often\"":         "invalid value of `raftstore.pd-heartbeat-tick-interval`",
		"[raftstore]\nraft-heartbeat-ticks = \"2\"":                   "expected a whole number",
		"[raftstore]\nraft-heartbeat-ticks = 20":                      "raft-election-timeout-ticks must be greater",
		"[storage]\nreserve-space = \"lots\"":                         "invalid size",
		"[log]\nlevel = \"loud\"":                                     "unknown level",
		"[storage":                                                    "invalid toml",
		"raftstore = 1":                                               "expected a table",
		"[coprocessor]\nregion-max-keys = 1\nregion-split-keys = 100": "region-max-keys must not be less",
	} {
		if _, err := loadText(t, toml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", toml, err, want)
		}
	}
}

func TestTheCommandLineWins(t *testing.T) {
	s, err := loadText(t, "[server]\naddr = \"127.0.0.1:1\"\n")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseArgs([]string{"--pd", "a:1,b:2", "-A", "0.0.0.0:20160", "--advertise-addr=x:20160", "--capacity", "1GB", "--labels", "zone=z"}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.apply(c); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.endpoints(), " "); got != "a:1 b:2" || s.advertised("addr") != "x:20160" || s.size("raftstore.capacity") != 1<<30 {
		t.Fatalf("%s %s %d", got, s.advertised("addr"), s.size("raftstore.capacity"))
	}
}

func TestMetricLabelsAreTiKVs(t *testing.T) {
	for method, want := range map[string]string{"/tikvpb.Tikv/KvGet": "kv_get", "/tikvpb.Tikv/KvPessimisticLock": "kv_pessimistic_lock"} {
		if got := callType(method); got != want {
			t.Errorf("%s: %s", method, got)
		}
	}
}
