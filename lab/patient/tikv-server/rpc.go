// The gRPC face of the store: unistore's service, with batch streams measured per command and writes refused on a full disk.
package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/pingcap/log"
	"github.com/pingcap/tidb/store/mockstore/unistore/tikv"
	"go.uber.org/zap"
)

type measuredServer struct {
	*tikv.Server
	metrics *metrics
	disk    *disk
	// draining: what comes in is not begun any more; clients go to another store when their stream ends.
	draining atomic.Bool
	// running counts commands that have begun and are not answered.
	running atomic.Int64
}

func (s *measuredServer) BatchCommands(stream tikvpb.Tikv_BatchCommandsServer) error {
	return s.Server.BatchCommands(&measuredStream{Tikv_BatchCommandsServer: stream, server: s, begun: map[uint64]begun{}})
}

type begun struct {
	kind string
	at   time.Time
}

// measuredStream remembers when each command of a batch came in; clients of TiKV send nearly everything this way.
type measuredStream struct {
	tikvpb.Tikv_BatchCommandsServer
	server *measuredServer
	mu     sync.Mutex
	begun  map[uint64]begun
	// sending: a refusal is sent by the receiving side, and gRPC allows one sender at a time.
	sending sync.Mutex
}

func (s *measuredStream) Recv() (*tikvpb.BatchCommandsRequest, error) {
	for {
		batch, err := s.Tikv_BatchCommandsServer.Recv()
		if err != nil {
			return nil, err
		}
		if s.server.draining.Load() {
			<-s.Context().Done()
			return nil, s.Context().Err()
		}
		s.server.running.Add(int64(len(batch.Requests)))
		refused := &tikvpb.BatchCommandsResponse{}
		kept := &tikvpb.BatchCommandsRequest{}
		now := time.Now()
		s.mu.Lock()
		for i, request := range batch.Requests {
			id := batch.RequestIds[i]
			s.begun[id] = begun{kind: commandKind(request), at: now}
			if response := s.refuse(request); response != nil {
				refused.Responses = append(refused.Responses, response)
				refused.RequestIds = append(refused.RequestIds, id)
				continue
			}
			kept.Requests = append(kept.Requests, request)
			kept.RequestIds = append(kept.RequestIds, id)
		}
		s.mu.Unlock()
		if len(refused.Responses) > 0 {
			if err := s.Send(refused); err != nil {
				return nil, err
			}
		}
		if len(kept.Requests) > 0 || len(batch.Requests) == 0 {
			return kept, nil
		}
	}
}

func (s *measuredStream) Send(batch *tikvpb.BatchCommandsResponse) error {
	now := time.Now()
	s.mu.Lock()
	for _, id := range batch.RequestIds {
		if start, ok := s.begun[id]; ok {
			s.server.metrics.rpc.WithLabelValues(start.kind).Observe(now.Sub(start.at).Seconds())
			delete(s.begun, id)
		}
	}
	s.mu.Unlock()
	defer s.server.running.Add(-int64(len(batch.RequestIds)))
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.Tikv_BatchCommandsServer.Send(batch)
}

// commandKind names a command as TiKV's metric does: *tikvpb.BatchCommandsRequest_Request_Prewrite is "kv_prewrite".
func commandKind(request *tikvpb.BatchCommandsRequest_Request) string {
	name := fmt.Sprintf("%T", request.GetCmd())
	name = name[strings.LastIndexByte(name, '_')+1:]
	kind := callType(name)
	if strings.HasPrefix(kind, "raw_") || kind == "coprocessor" || kind == "empty" {
		return kind
	}
	return "kv_" + kind
}

func (s *measuredStream) refuse(request *tikvpb.BatchCommandsRequest_Request) *tikvpb.BatchCommandsResponse_Response {
	switch command := request.GetCmd().(type) {
	case *tikvpb.BatchCommandsRequest_Request_Prewrite:
		if refusal, ok := refuseWhenFull(command.Prewrite, s.server.disk, s.server.metrics).(*kvrpcpb.PrewriteResponse); ok {
			return &tikvpb.BatchCommandsResponse_Response{Cmd: &tikvpb.BatchCommandsResponse_Response_Prewrite{Prewrite: refusal}}
		}
	case *tikvpb.BatchCommandsRequest_Request_PessimisticLock:
		if refusal, ok := refuseWhenFull(command.PessimisticLock, s.server.disk, s.server.metrics).(*kvrpcpb.PessimisticLockResponse); ok {
			return &tikvpb.BatchCommandsResponse_Response{Cmd: &tikvpb.BatchCommandsResponse_Response_PessimisticLock{PessimisticLock: refusal}}
		}
	}
	return nil
}

// refuseWhenFull answers what would begin a new write, if the disk has no room; commits and rollbacks pass, because they end one.
func refuseWhenFull(request interface{}, d *disk, m *metrics) interface{} {
	switch request.(type) {
	case *kvrpcpb.PrewriteRequest, *kvrpcpb.PessimisticLockRequest:
	default:
		return nil
	}
	if !d.almostFull() {
		return nil
	}
	m.critical.WithLabelValues("full_disk").Inc()
	log.Warn("refused a write: disk full", zap.String("path", d.path))
	cause := &errorpb.Error{Message: "disk full"}
	if _, ok := request.(*kvrpcpb.PrewriteRequest); ok {
		return &kvrpcpb.PrewriteResponse{RegionError: cause}
	}
	return &kvrpcpb.PessimisticLockResponse{RegionError: cause}
}
