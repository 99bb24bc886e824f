// Patches for unistore, which is unmaintained: lost locks, stalled replication, crashes under load.
import type { ModulePatch } from '../../hack/toolchain/module-patch.ts';

/** Applied when the stand-in for tikv-server is built. */
export const unistorePatch: ModulePatch = {
  module: 'github.com/ngaut/unistore',
  version: 'v0.0.0-20231125025143-65768917ffc9',
  edits: [
    {
      file: 'raftstore/applier.go',
      reason:
        'Applied entries share memory with messages that still wait for a slow follower; wiping them sends it empty entries, which it takes for its own log.',
      find: `	for i := range apply.entries {
		apply.entries[i] = eraftpb.Entry{}
	}
	apply.entries = apply.entries[:0]
`,
      replace: `	apply.entries = nil
`,
    },
    {
      file: 'raftstore/db_writer.go',
      reason:
        'A reader that meets a lock moves its commit timestamp; the lock was then written again without its value, and an empty one was committed.',
      find: `	encodedKey := codec.EncodeBytes(nil, key)
	val, _ := mvcc.EncodeLockCFValue(lock)
	wb.requests = append(wb.requests, &rcpb.Request{
		CmdType: rcpb.CmdType_Put,
		Put: &rcpb.PutRequest{
			Cf:    CFLock,
			Key:   encodedKey,
			Value: val,
		},
	})
`,
      replace: `	wb.Prewrite(key, lock)
`,
    },
    {
      file: 'raftstore/snap_builder.go',
      reason:
        'A snapshot ended at the last committed key, so locks behind it were missing; and records of one key were not in the order of their timestamps.',
      find: `	curKey := b.curDBKey
	if len(curKey) == 0 || (len(b.curLockKey) > 0 && bytes.Compare(b.curLockKey, curKey) < 0) {
		keyType = currentKeyLock
	}
	if len(curKey) == 0 || (len(b.curExtraKey) > 0 && bytes.Compare(b.curExtraKey, curKey) < 0) {
		keyType = currentKeyExtra
	}
	return
`,
      replace: `	curKey := b.curDBKey
	if len(b.curExtraKey) > 0 {
		order := bytes.Compare(b.curExtraKey, curKey)
		if len(curKey) == 0 || order < 0 || (order == 0 && b.extraTS() > b.dbIterator.Item().Version()) {
			keyType, curKey = currentKeyExtra, b.curExtraKey
		}
	}
	// A lock is newer than all that is committed under its key.
	if len(b.curLockKey) > 0 && (len(curKey) == 0 || bytes.Compare(b.curLockKey, curKey) <= 0) {
		keyType = currentKeyLock
	}
	return
}

func (b *snapBuilder) extraTS() uint64 {
	meta := mvcc.DBUserMeta(b.extraIterator.Item().UserMeta())
	if meta.CommitTS() == 0 {
		return meta.StartTS()
	}
	return meta.CommitTS()
`,
    },
    {
      file: 'raftstore/snap_builder.go',
      reason:
        'Records of rolled-back transactions lie under the letter after that of their data ("m" and "t"); data of other regions was taken for them.',
      find: `	b.extraIterator.Seek(mvcc.EncodeExtraTxnStatusKey(startKey, math.MaxUint64))
	if b.extraIterator.Valid() && !b.reachExtraEnd(b.extraIterator.Item().Key()) {
		b.curExtraKey = mvcc.DecodeExtraTxnStatusKey(b.extraIterator.Item().Key())
	}
`,
      replace: `	b.extraIterator.Seek(mvcc.EncodeExtraTxnStatusKey(startKey, math.MaxUint64))
	b.loadExtra()
`,
    },
    {
      file: 'raftstore/snap_builder.go',
      reason: 'The same for the records that follow.',
      find: `	b.curExtraKey = nil
	b.extraIterator.Next()
	if b.extraIterator.Valid() && !b.reachExtraEnd(b.extraIterator.Item().Key()) {
		b.curExtraKey = mvcc.DecodeExtraTxnStatusKey(b.extraIterator.Item().Key())
	}
	return nil
}
`,
      replace: `	b.extraIterator.Next()
	b.loadExtra()
	return nil
}

func (b *snapBuilder) loadExtra() {
	b.curExtraKey = nil
	for b.extraIterator.Valid() && !b.reachExtraEnd(b.extraIterator.Item().Key()) {
		switch letter := b.extraIterator.Item().Key()[0]; {
		case letter == 'n' || letter == 'u':
			b.curExtraKey = mvcc.DecodeExtraTxnStatusKey(b.extraIterator.Item().Key())
			return
		case letter < 'n':
			b.extraIterator.Seek([]byte{'n'})
		case letter < 'u':
			b.extraIterator.Seek([]byte{'u'})
		default:
			return
		}
	}
}
`,
    },
    {
      file: 'raftstore/snap_applier.go',
      reason: "A lock's key was not decoded, so a snapshot that held a lock could not be applied.",
      find: `	key = key[1:]
	data, value, err = codec.DecodeCompactBytes(data)
`,
      replace: `	if _, key, err = codec.DecodeBytes(key[1:], nil); err != nil {
		return
	}
	data, value, err = codec.DecodeCompactBytes(data)
`,
    },
    {
      file: 'raftstore/snap_applier.go',
      reason: 'Applying a rollback never went on to the next record.',
      find: `		item.userMeta = mvcc.NewDBUserMeta(writeVal.startTS, 0)
		return item, nil
`,
      replace: `		item.userMeta = mvcc.NewDBUserMeta(writeVal.startTS, 0)
		return item, ai.writeCFIteratorNext()
`,
    },
    {
      file: 'raftstore/snap_applier.go',
      reason: 'Applying a record of a lock without a write never went on to the next record.',
      find: `		item.userMeta = mvcc.NewDBUserMeta(writeVal.startTS, ai.curWriteCommitTS)
		return item, nil
`,
      replace: `		item.userMeta = mvcc.NewDBUserMeta(writeVal.startTS, ai.curWriteCommitTS)
		return item, ai.writeCFIteratorNext()
`,
    },
    {
      file: 'raftstore/snap.go',
      reason: 'A snapshot that was made before was sent without its description, which ended the receiver.',
      find: `	if s.Exists() {
		err := s.validate()
		if err == nil {
			return nil
		}
		log.S().Errorf("[region %d] file %s is corrupted, will rebuild`,
      replace: `	if s.Exists() {
		err := s.validate()
		if err == nil {
			snapData.FileSize = s.TotalSize()
			snapData.Version = snapshotVersion
			snapData.Meta = s.MetaFile.Meta
			return nil
		}
		log.S().Errorf("[region %d] file %s is corrupted, will rebuild`,
    },
    {
      file: 'raftstore/snap.go',
      reason: 'What a failed attempt has left in a temporary file stayed behind the new content.',
      find: `file, err := os.OpenFile(s.MetaFile.TmpPath, os.O_CREATE|os.O_WRONLY, 0600)`,
      replace: `file, err := os.OpenFile(s.MetaFile.TmpPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0600)`,
    },
    {
      file: 'raftstore/snap.go',
      reason: 'What a failed attempt has left in a temporary file stayed behind the new content.',
      find: `file, err = os.OpenFile(cfFile.TmpPath, os.O_CREATE|os.O_WRONLY, 0600)`,
      replace: `file, err = os.OpenFile(cfFile.TmpPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0600)`,
    },
    {
      file: 'raftstore/snap.go',
      reason: 'What a failed attempt has left in a temporary file stayed behind the new content.',
      find: `	f, err := os.OpenFile(s.MetaFile.TmpPath, os.O_CREATE|os.O_WRONLY, 0600)`,
      replace: `	f, err := os.OpenFile(s.MetaFile.TmpPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0600)`,
    },
    {
      file: 'raftstore/snap.go',
      reason: 'What a failed attempt has left in a temporary file stayed behind the new content.',
      find: `		f, err = os.OpenFile(cfFile.TmpPath, os.O_CREATE|os.O_WRONLY, 0600)`,
      replace: `		f, err = os.OpenFile(cfFile.TmpPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0600)`,
    },
    {
      file: 'raftstore/worker.go',
      reason: 'A snapshot that could not be made was waited for without end; an empty answer makes Raft ask again.',
      find: `		log.Error("failed to generate snapshot!!!", zap.Uint64("region id", regionID), zap.Error(err))
`,
      replace: `		log.Warn("failed to generate snapshot, will be asked again", zap.Uint64("region id", regionID), zap.Error(err))
		notifier <- &eraftpb.Snapshot{}
`,
    },
    {
      file: 'raftstore/peer_storage.go',
      reason: 'After five failed snapshots in a row Raft panicked.',
      find: `	MaxSnapRetryCnt = 5
`,
      replace: `	MaxSnapRetryCnt = 1 << 30
`,
    },
    {
      file: 'raftstore/peer_worker.go',
      reason: 'A peer that joined a batch late kept the redo index of an older one.',
      find: `				batch.peers[msg.RegionID] = ps
			}
			ps.apply.handleTask`,
      replace: `				batch.peers[msg.RegionID] = ps
				ps.apply.redoIndex = ps.apply.applyState.appliedIndex + 1
			}
			ps.apply.handleTask`,
    },
    {
      file: 'raftstore/worker.go',
      reason: 'The first and the last region have an open end; that is no error to log every few seconds.',
      find: `	regionID := region.Id
	_, startKey, err := codec.DecodeBytes(region.StartKey, nil)
`,
      replace: `	regionID := region.Id
	if len(region.StartKey) == 0 || len(region.EndKey) == 0 {
		return
	}
	_, startKey, err := codec.DecodeBytes(region.StartKey, nil)
`,
    },
    {
      file: 'raftstore/snapRunner.go',
      reason:
        'One snapshot at a time was sent or received: stores that sent to each other waited for each other without end.',
      find: `		r.send(t.data.(sendSnapTask))
	case taskTypeSnapRecv:
		r.recv(t.data.(recvSnapTask))`,
      replace: `		go r.send(t.data.(sendSnapTask))
	case taskTypeSnapRecv:
		go r.recv(t.data.(recvSnapTask))`,
    },
    {
      file: 'raftstore/snapRunner.go',
      reason: 'Every snapshot that was sent left its connection behind.',
      find: `	client := tikvpb.NewTikvClient(cc)
	stream, err := client.Snapshot(context.TODO())`,
      replace: `	defer cc.Close()
	client := tikvpb.NewTikvClient(cc)
	stream, err := client.Snapshot(context.TODO())`,
    },
    {
      file: 'raftstore/raft_client.go',
      reason: 'Every failed stream left its connection behind, trying to connect for ever.',
      find: `	ctx, cancelFunc := context.WithCancel(c.ctx)
	c.stream, err = tikvpb.NewTikvClient(cc).BatchRaft(ctx)
	if err != nil {
		cancelFunc()
		return err
	}
`,
      replace: `	ctx, cancelFunc := context.WithCancel(c.ctx)
	c.stream, err = tikvpb.NewTikvClient(cc).BatchRaft(ctx)
	if err != nil {
		cancelFunc()
		_ = cc.Close()
		c.stream = nil
		return err
	}
	// The stream's end is the connection's end.
	go func() {
		<-ctx.Done()
		_ = cc.Close()
	}()
`,
    },
    {
      file: 'raftstore/raft_client.go',
      reason: 'Connecting to a store that drops packets must not hold up the others for 20 s.',
      find: `	cc, err := grpc.Dial(addr, grpc.WithInsecure(),
`,
      replace: `	dialer := net.Dialer{Timeout: 2 * time.Second}
	cc, err := grpc.Dial(addr, grpc.WithInsecure(),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", target)
		}),
`,
    },
    {
      file: 'raftstore/raft_client.go',
      reason: 'net is needed by the dialer above.',
      find: `	"context"
	"sync"
`,
      replace: `	"context"
	"net"
	"sync"
`,
    },
    {
      file: 'raftstore/raft_client.go',
      reason: 'Raft can lose a message, but must not wait for a store that takes none.',
      find: `	case c.msgCh <- msg:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
`,
      replace: `	case c.msgCh <- msg:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	default:
		return nil
`,
    },
  ],
};
