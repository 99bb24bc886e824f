// The way to PD: unistore's client, with the store's own numbers put into what it sends.
package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/store/mockstore/unistore/pd"
	"github.com/pingcap/tidb/store/mockstore/unistore/tikv"
	"github.com/pingcap/tidb/util/codec"
	"go.uber.org/zap"
)

type pdClient struct {
	pd.Client
	settings *settings
	disk     *disk
	metrics  *metrics
	failed   chan<- error
	started  time.Time
	// splitter is the store once it runs; PD may ask for a split as soon as the first heartbeat is out.
	splitter atomic.Pointer[tikv.Server]
	// putStoreRefusal is why PD did not take the store, if it did not.
	putStoreRefusal error
}

// connectPD waits for PD as long as it takes, as TiKV does: a store may well start before its PD.
func connectPD(s *settings, d *disk, m *metrics, failed chan<- error) (*pdClient, error) {
	endpoints := s.endpoints()
	for attempt := 1; ; attempt++ {
		client, err := pd.NewClient(endpoints, "")
		if err == nil {
			log.Info("connected to PD", zap.Strings("endpoints", endpoints), zap.Uint64("cluster-id", client.GetClusterID(context.Background())))
			return &pdClient{Client: client, settings: s, disk: d, metrics: m, failed: failed, started: time.Now()}, nil
		}
		log.Error("failed to connect to PD, will retry", zap.Strings("endpoints", endpoints), zap.Int("attempt", attempt), zap.Error(err))
	}
}

// PutStore registers the store. It adds what unistore leaves out, and keeps PD's refusal, which is what a person needs to read.
func (c *pdClient) PutStore(ctx context.Context, store *metapb.Store) error {
	store.Version = storeVersion
	store.GitHash = "unistore-stand-in"
	store.StatusAddress = c.settings.advertised("status-addr")
	store.StartTimestamp = c.started.Unix()
	if path, err := filepath.Abs(c.settings.text("storage.data-dir")); err == nil {
		store.DeployPath = path
	}
	err := c.Client.PutStore(ctx, store)
	if err != nil {
		c.putStoreRefusal = fmt.Errorf("put store %d (%s): %w", store.GetId(), store.GetAddress(), err)
		return c.putStoreRefusal
	}
	return nil
}

// StoreHeartbeat reports the disk as it is; unistore would count its own files only, and read the start time as a second of the minute.
func (c *pdClient) StoreHeartbeat(ctx context.Context, stats *pdpb.StoreStats) error {
	if usage, err := c.disk.usage(); err != nil {
		log.Error("disk usage for the heartbeat", zap.Error(err))
	} else {
		stats.Capacity, stats.Available, stats.UsedSize = usage.capacity, usage.available, usage.used
	}
	stats.StartTime = uint32(c.started.Unix())
	c.metrics.storeHeartbeat(stats)
	err := c.Client.StoreHeartbeat(ctx, stats)
	if err != nil && isRemoved(err) {
		select {
		case c.failed <- fmt.Errorf("this store has been removed from the cluster: %w", err):
		default:
		}
	}
	return err
}

func (c *pdClient) ReportRegion(request *pdpb.RegionHeartbeatRequest) {
	c.metrics.heartbeats.WithLabelValues("send").Inc()
	c.Client.ReportRegion(request)
}

// SetRegionHeartbeatResponseHandler answers PD's request to split at given keys, which unistore takes for a split in the middle:
// PD asks for it once per key space after bootstrap and keeps regions unreplicated until it has happened.
func (c *pdClient) SetRegionHeartbeatResponseHandler(next func(*pdpb.RegionHeartbeatResponse)) {
	c.Client.SetRegionHeartbeatResponseHandler(func(response *pdpb.RegionHeartbeatResponse) {
		split := response.GetSplitRegion()
		if split == nil || split.GetPolicy() != pdpb.CheckPolicy_USEKEY {
			next(response)
			return
		}
		// A split asks PD for ids over the connection that delivered this: it must not wait here.
		go c.splitAt(response, split.GetKeys())
	})
}

func (c *pdClient) splitAt(response *pdpb.RegionHeartbeatResponse, encoded [][]byte) {
	store := c.splitter.Load()
	if store == nil {
		return // PD asks again
	}
	request := &kvrpcpb.SplitRegionRequest{Context: &kvrpcpb.Context{
		RegionId: response.GetRegionId(), RegionEpoch: response.GetRegionEpoch(), Peer: response.GetTargetPeer(),
	}}
	for _, key := range encoded {
		_, raw, err := codec.DecodeBytes(key, nil)
		if err != nil {
			log.Warn("PD asks for a split at a key that cannot be decoded", zap.Error(err))
			return
		}
		request.SplitKeys = append(request.SplitKeys, raw)
	}
	reply, err := store.SplitRegion(context.Background(), request)
	if err != nil || reply.GetRegionError() != nil {
		log.Warn("split asked for by PD failed", zap.Uint64("region-id", response.GetRegionId()), zap.Error(err), zap.Stringer("region-error", reply.GetRegionError()))
	}
}

// isRemoved tells that PD counts the store as a Tombstone: TiKV leaves then, too.
func isRemoved(err error) bool {
	text := err.Error()
	return strings.Contains(text, "STORE_TOMBSTONE") || strings.Contains(text, "store is tombstone") || errors.Is(err, errRemoved)
}

var errRemoved = errors.New("store is tombstone")
