// A store from start to stop: engines, Raft, gRPC and the status server, put together from unistore's packages.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	uconfig "github.com/ngaut/unistore/config"
	"github.com/ngaut/unistore/raftstore"
	"github.com/pingcap/badger"
	"github.com/pingcap/badger/options"
	"github.com/pingcap/kvproto/pkg/deadlock"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/store/mockstore/unistore/lockstore"
	"github.com/pingcap/tidb/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/store/mockstore/unistore/tikv/mvcc"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

const (
	// drainGrace is how long commands that have begun may take to end after the order to stop.
	drainGrace = 2 * time.Second
	// stopGrace bounds the rest of a graceful stop; whatever hangs longer is cut by the end of the process, which Raft survives.
	stopGrace = 5 * time.Second

	mib = 1 << 20
)

type node struct {
	store   *tikv.Server
	service *measuredServer
	rpc     *grpc.Server
	// health answers clients that ask whether the store is reachable.
	health *health.Server
	status *http.Server
	// failed delivers the first error that the process cannot live with.
	failed chan error
}

func startNode(s *settings) (*node, error) {
	dataDir := s.text("storage.data-dir")
	for _, name := range []string{"kv", "raft", "snap"} {
		if err := os.MkdirAll(filepath.Join(dataDir, name), 0o755); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	if _, err := lockDataDir(dataDir); err != nil {
		return nil, err
	}
	if err := dropSentSnapshots(filepath.Join(dataDir, "snap")); err != nil {
		return nil, err
	}

	disk := &disk{path: dataDir, limit: s.size("raftstore.capacity"), reserve: s.size("storage.reserve-space")}
	if _, err := disk.usage(); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	n := &node{failed: make(chan error, 4)}
	metrics := newMetrics(disk)

	// The status server answers before the store has joined, as TiKV's does: an operator wants to ask a store that hangs.
	statusListener, err := net.Listen("tcp", s.text("server.status-addr"))
	if err != nil {
		return nil, fmt.Errorf("status server: %w", err)
	}
	n.status = &http.Server{Handler: statusHandler(s, metrics), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := n.status.Serve(statusListener); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("status server: %w", err)
		}
	}()

	client, err := connectPD(s, disk, metrics, n.failed)
	if err != nil {
		return nil, err
	}
	if n.store, err = openStore(s, dataDir, client, metrics); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", s.text("server.addr"))
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	client.splitter.Store(n.store)
	n.rpc = grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 2 * time.Second, PermitWithoutStream: true}),
		grpc.InitialWindowSize(1<<30),
		grpc.InitialConnWindowSize(1<<30),
		grpc.MaxRecvMsgSize(16*mib),
		grpc.UnaryInterceptor(metrics.unary(disk)),
	)
	n.service = &measuredServer{Server: n.store, metrics: metrics, disk: disk}
	tikvpb.RegisterTikvServer(n.rpc, n.service)
	deadlock.RegisterDeadlockServer(n.rpc, n.store)
	// After one failed call clients ask TiKV's health service every second, and send nothing to the store until it says SERVING.
	n.health = health.NewServer()
	healthpb.RegisterHealthServer(n.rpc, n.health)
	go func() {
		if err := n.rpc.Serve(listener); err != nil {
			n.failed <- fmt.Errorf("server: %w", err)
		}
	}()
	log.Info("TiKV's stand-in is ready to serve", zap.String("addr", s.text("server.addr")), zap.String("status-addr", s.text("server.status-addr")))
	return n, nil
}

// stop ends the store in order, so that the locks in memory reach the disk. Commands end before the server does: the followers'
// answers that they wait for come in through it.
func (n *node) stop() {
	n.health.Shutdown()
	n.service.draining.Store(true)
	for end := time.Now().Add(drainGrace); n.service.running.Load() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.rpc.Stop()
		n.store.Stop()
		_ = n.status.Close()
	}()
	select {
	case <-done:
	case <-time.After(stopGrace):
		log.Warn("the store did not stop in time, leaving", zap.Duration("grace", stopGrace))
	}
}

// dropSentSnapshots removes what an earlier process made for others or did not finish. Snapshots that were received stay: a region
// that was being restored from one needs it.
func dropSentSnapshots(dir string) error {
	for _, pattern := range []string{"gen_*", "*.tmp"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return fmt.Errorf("old snapshots: %w", err)
			}
		}
	}
	return nil
}

func openStore(s *settings, dataDir string, client *pdClient, metrics *metrics) (*tikv.Server, error) {
	physical, logical, err := client.GetTS(context.Background())
	for err != nil {
		// PD answers, but has no leader yet.
		log.Error("no timestamp from PD, will retry", zap.Error(err))
		time.Sleep(time.Second)
		physical, logical, err = client.GetTS(context.Background())
	}
	conf := unistoreConfig(s, dataDir)
	safePoint := &tikv.SafePoint{}
	kvPath, raftPath := filepath.Join(dataDir, "kv"), filepath.Join(dataDir, "raft")
	kvDB, err := openEngine(kvPath, s, func(o *badger.Options) {
		o.ManagedTxns = true
		o.CompactionFilterFactory = safePoint.CreateCompactionFilter
	})
	if err != nil {
		return nil, fmt.Errorf("open kv engine: %w", err)
	}
	raftDB, err := openEngine(raftPath, s, func(o *badger.Options) {
		// Raft entries are short-lived: keep them out of the value log.
		o.ValueThreshold = 0
		o.CompactionFilterFactory = raftstore.CreateRaftLogCompactionFilter
	})
	if err != nil {
		return nil, fmt.Errorf("open raft engine: %w", err)
	}
	bundle := &mvcc.DBBundle{DB: kvDB, LockStore: lockstore.NewMemStore(8 * mib), StateTS: uint64(physical)<<18 + uint64(logical)}
	if err := restoreLocks(bundle, raftDB, filepath.Join(kvPath, raftstore.LockstoreFileName)); err != nil {
		return nil, fmt.Errorf("restore locks: %w", err)
	}
	inner := raftstore.NewRaftInnerServer(conf, raftstore.NewEngines(bundle, raftDB, kvPath, raftPath), raftConfig(s, dataDir))
	inner.Setup(client)
	router := inner.GetRaftstoreRouter()
	store := tikv.NewMVCCStore(&conf.Config, bundle, dataDir, safePoint, raftstore.NewDBWriter(conf, router), client)
	regions := raftstore.NewRaftRegionManager(inner.GetStoreMeta(), router, store.DeadlockDetectSvr)
	inner.SetPeerEventObserver(metrics.observe(regions))
	if err := inner.Start(client); err != nil {
		if client.putStoreRefusal != nil {
			// unistore's own error says only that it tried too often.
			return nil, client.putStoreRefusal
		}
		return nil, err
	}
	// unistore sends its first heartbeat after a whole interval; TiKV at once, so that PD counts a returned store without delay.
	go func() {
		_ = client.StoreHeartbeat(context.Background(), &pdpb.StoreStats{StoreId: inner.GetStoreMeta().GetId()})
	}()
	store.StartDeadlockDetection(true)
	return tikv.NewServer(regions, store, inner), nil
}

func restoreLocks(bundle *mvcc.DBBundle, raftDB *badger.DB, dump string) error {
	meta, err := bundle.LockStore.LoadFromFile(dump)
	if err != nil {
		return err
	}
	var offset uint64
	if meta != nil {
		offset = binary.LittleEndian.Uint64(meta)
	}
	return raftstore.RestoreLockStore(offset, bundle, raftDB)
}

func openEngine(path string, s *settings, tune func(*badger.Options)) (*badger.DB, error) {
	o := badger.DefaultOptions
	o.Dir, o.ValueDir = path, path
	o.NumCompactors = 1
	o.ValueThreshold = 256
	o.ValueLogWriteOptions.WriteBufferSize = 1 * mib
	// badger reserves a whole value log file at once: on a small volume that is most of what there is.
	o.ValueLogFileSize = int64(s.size("raft-engine.target-file-size"))
	o.ValueLogMaxNumFiles = 3
	o.MaxMemTableSize = int64(s.size("rocksdb.defaultcf.write-buffer-size"))
	o.NumMemtables = int(s.number("rocksdb.defaultcf.max-write-buffer-number"))
	o.NumLevelZeroTables = int(s.number("rocksdb.defaultcf.level0-file-num-compaction-trigger"))
	o.NumLevelZeroTablesStall = int(s.number("rocksdb.defaultcf.level0-stop-writes-trigger"))
	o.LevelOneSize = int64(s.size("rocksdb.defaultcf.max-bytes-for-level-base"))
	o.TableBuilderOptions.MaxTableSize = int64(s.size("rocksdb.defaultcf.target-file-size-base"))
	o.TableBuilderOptions.CompressionPerLevel = make([]options.CompressionType, o.TableBuilderOptions.MaxLevels)
	// 0 turns the caches off: tables are read through mmap, so the kernel's page cache does it.
	o.MaxBlockCacheSize, o.MaxIndexCacheSize = 0, 0
	// An acknowledged write must survive the loss of power, not only of the process.
	o.SyncWrites = s.flag("raftstore.sync-log")
	tune(&o)
	return badger.Open(o)
}

// unistoreConfig carries only what unistore reads itself; the rest is given to the engines and to Raft directly.
func unistoreConfig(s *settings, dataDir string) *uconfig.Config {
	conf := uconfig.DefaultConf
	conf.Server.StoreAddr = s.advertised("addr")
	conf.Engine.DBPath = dataDir
	// unistore's own log format is not understood by its snapshot builder and its restore of locks: a snapshot taken while
	// writes go on would fail for good. TiKV's format is.
	conf.RaftStore.CustomRaftLog = false
	conf.Coprocessor.RegionMaxKeys = s.number("coprocessor.region-max-keys")
	conf.Coprocessor.RegionSplitKeys = s.number("coprocessor.region-split-keys")
	conf.PessimisticTxn.WaitForLockTimeout = s.duration("pessimistic-txn.wait-for-lock-timeout").Milliseconds()
	conf.PessimisticTxn.WakeUpDelayDuration = s.duration("pessimistic-txn.wake-up-delay-duration").Milliseconds()
	return &conf
}

func raftConfig(s *settings, dataDir string) *raftstore.Config {
	c := raftstore.NewDefaultConfig()
	c.SnapPath = filepath.Join(dataDir, "snap")
	c.Addr = s.advertised("addr")
	c.Capacity = s.size("raftstore.capacity")
	for key, value := range s.labels() {
		c.Labels = append(c.Labels, raftstore.StoreLabel{LabelKey: key, LabelValue: value})
	}
	c.RaftBaseTickInterval = s.duration("raftstore.raft-base-tick-interval")
	c.RaftHeartbeatTicks = int(s.number("raftstore.raft-heartbeat-ticks"))
	c.RaftElectionTimeoutTicks = int(s.number("raftstore.raft-election-timeout-ticks"))
	c.RaftStoreMaxLeaderLease = s.duration("raftstore.raft-store-max-leader-lease")
	c.PdHeartbeatTickInterval = s.duration("raftstore.pd-heartbeat-tick-interval")
	c.PdStoreHeartbeatTickInterval = s.duration("raftstore.pd-store-heartbeat-tick-interval")
	c.MaxPeerDownDuration = s.duration("raftstore.max-peer-down-duration")
	c.MaxLeaderMissingDuration = s.duration("raftstore.max-leader-missing-duration")
	c.AbnormalLeaderMissingDuration = s.duration("raftstore.abnormal-leader-missing-duration")
	c.PeerStaleStateCheckInterval = s.duration("raftstore.peer-stale-state-check-interval")
	c.SplitRegionCheckTickInterval = s.duration("raftstore.split-region-check-tick-interval")
	c.SnapMgrGcTickInterval = s.duration("raftstore.snap-mgr-gc-tick-interval")
	c.SnapGcTimeout = s.duration("raftstore.snap-gc-timeout")
	c.SplitCheck.RegionMaxKeys = uint64(s.number("coprocessor.region-max-keys"))
	c.SplitCheck.RegionSplitKeys = uint64(s.number("coprocessor.region-split-keys"))
	// A peer that stops answering must not hold its connection, and with it the sender, for a minute.
	c.GrpcKeepAliveTimeout = s.duration("server.grpc-keepalive-timeout")
	return c
}
