// /metrics under the names that TiKV's own dashboards and alert rules use.
package main

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ngaut/unistore/raftstore"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/zhangjinpeng1987/raft"
	"google.golang.org/grpc"
)

type metrics struct {
	registry   *prometheus.Registry
	rpc        *prometheus.HistogramVec
	critical   *prometheus.CounterVec
	heartbeats *prometheus.CounterVec

	mu      sync.Mutex
	regions map[uint64]raft.StateType
	stats   pdpb.StoreStats
}

func newMetrics(d *disk) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		regions:  map[uint64]raft.StateType{},
		rpc: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tikv_grpc_msg_duration_seconds", Help: "Bucketed histogram of grpc server messages",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 22),
		}, []string{"type"}),
		critical: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_critical_error_total", Help: "Counter of critical error",
		}, []string{"type"}),
		heartbeats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_pd_heartbeat_message_total", Help: "Total number of PD heartbeat messages",
		}, []string{"type"}),
	}
	stall := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tikv_engine_write_stall", Help: "Histogram of write stall",
	}, []string{"db", "type"})
	// The stand-in's engine has no write stalls to report; the series exists so that rules over it evaluate.
	stall.WithLabelValues("kv", "write_stall_percentile99").Set(0)
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tikv_server_info", Help: "Which program this is", ConstLabels: nil,
	}, []string{"program", "release"})
	info.WithLabelValues("unistore stand-in", release).Set(1)
	for _, kind := range []string{"full_disk", "io"} {
		m.critical.WithLabelValues(kind)
	}
	m.registry.MustRegister(m.rpc, m.critical, m.heartbeats, stall, info,
		prometheus.NewProcessCollector(prometheus.ProcessCollectorOpts{}), prometheus.NewGoCollector(),
		&storeCollector{metrics: m, disk: d})
	return m
}

// storeCollector reads the disk and the regions at the moment of the scrape.
type storeCollector struct {
	metrics *metrics
	disk    *disk
}

var (
	storeSize     = prometheus.NewDesc("tikv_store_size_bytes", "Size of storage.", []string{"type"}, nil)
	engineSize    = prometheus.NewDesc("tikv_engine_size_bytes", "Sizes of each column families", []string{"db", "type"}, nil)
	regionCount   = prometheus.NewDesc("tikv_raftstore_region_count", "Number of regions collected in region_collector", []string{"type"}, nil)
	leaderMissing = prometheus.NewDesc("tikv_raftstore_leader_missing", "Total number of leader missed region", nil, nil)
	snapshots     = prometheus.NewDesc("tikv_raftstore_snapshot_traffic_total", "Total number of raftstore snapshot traffic", []string{"type"}, nil)
)

func (c *storeCollector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{storeSize, engineSize, regionCount, leaderMissing, snapshots} {
		descriptions <- description
	}
}

func (c *storeCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	if usage, err := c.disk.usage(); err == nil {
		gauge(storeSize, float64(usage.capacity), "capacity")
		gauge(storeSize, float64(usage.available), "available")
		gauge(storeSize, float64(usage.used), "used")
		gauge(engineSize, float64(usage.used), "kv", "default")
	}
	c.metrics.mu.Lock()
	defer c.metrics.mu.Unlock()
	var leaders, lost int
	for _, state := range c.metrics.regions {
		switch state {
		case raft.StateLeader:
			leaders++
		case raft.StateCandidate, raft.StatePreCandidate:
			// A peer that campaigns does not know a leader.
			lost++
		}
	}
	gauge(regionCount, float64(len(c.metrics.regions)), "region")
	gauge(regionCount, float64(leaders), "leader")
	gauge(leaderMissing, float64(lost))
	gauge(snapshots, float64(c.metrics.stats.SendingSnapCount), "sending")
	gauge(snapshots, float64(c.metrics.stats.ReceivingSnapCount), "receiving")
	gauge(snapshots, float64(c.metrics.stats.ApplyingSnapCount), "applying")
}

func (m *metrics) storeHeartbeat(stats *pdpb.StoreStats) {
	m.mu.Lock()
	m.stats.SendingSnapCount, m.stats.ReceivingSnapCount, m.stats.ApplyingSnapCount =
		stats.SendingSnapCount, stats.ReceivingSnapCount, stats.ApplyingSnapCount
	m.mu.Unlock()
	m.heartbeats.WithLabelValues("store").Inc()
}

// observe counts regions and leaders on the way to the observer that unistore needs.
func (m *metrics) observe(next raftstore.PeerEventObserver) raftstore.PeerEventObserver {
	return &regionObserver{PeerEventObserver: next, metrics: m}
}

type regionObserver struct {
	raftstore.PeerEventObserver
	metrics *metrics
}

func (o *regionObserver) known(regionID uint64) {
	o.metrics.mu.Lock()
	defer o.metrics.mu.Unlock()
	if _, ok := o.metrics.regions[regionID]; !ok {
		o.metrics.regions[regionID] = raft.StateFollower
	}
}

func (o *regionObserver) OnPeerCreate(ctx *raftstore.PeerEventContext, region *metapb.Region) {
	o.known(ctx.RegionID)
	o.PeerEventObserver.OnPeerCreate(ctx, region)
}

func (o *regionObserver) OnPeerApplySnap(ctx *raftstore.PeerEventContext, region *metapb.Region) {
	o.known(ctx.RegionID)
	o.PeerEventObserver.OnPeerApplySnap(ctx, region)
}

func (o *regionObserver) OnPeerDestroy(ctx *raftstore.PeerEventContext) {
	o.metrics.mu.Lock()
	delete(o.metrics.regions, ctx.RegionID)
	o.metrics.mu.Unlock()
	o.PeerEventObserver.OnPeerDestroy(ctx)
}

func (o *regionObserver) OnSplitRegion(derived *metapb.Region, regions []*metapb.Region, peers []*raftstore.PeerEventContext) {
	for _, peer := range peers {
		o.known(peer.RegionID)
	}
	o.PeerEventObserver.OnSplitRegion(derived, regions, peers)
}

func (o *regionObserver) OnRoleChange(regionID uint64, state raft.StateType) {
	o.metrics.mu.Lock()
	o.metrics.regions[regionID] = state
	o.metrics.mu.Unlock()
	o.PeerEventObserver.OnRoleChange(regionID, state)
}

// unary measures calls that do not come through a batch stream, and refuses writes on a full disk.
func (m *metrics) unary(d *disk) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request interface{}, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (interface{}, error) {
		begin := time.Now()
		defer func() { m.rpc.WithLabelValues(callType(info.FullMethod)).Observe(time.Since(begin).Seconds()) }()
		if refusal := refuseWhenFull(request, d, m); refusal != nil {
			return refusal, nil
		}
		return handler(ctx, request)
	}
}

// callType turns "/tikvpb.Tikv/KvGet" into TiKV's label "kv_get".
func callType(method string) string {
	name := method[strings.LastIndexByte(method, '/')+1:]
	var out strings.Builder
	for i, letter := range name {
		if unicode.IsUpper(letter) {
			if i > 0 && !unicode.IsUpper(rune(name[i-1])) {
				out.WriteByte('_')
			}
			letter = unicode.ToLower(letter)
		}
		out.WriteRune(letter)
	}
	return out.String()
}
