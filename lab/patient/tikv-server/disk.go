// The store's disk: how large it is, how much is left, and when to refuse writes for want of space.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
)

type disk struct {
	path string
	// limit is the configured capacity in bytes; 0 means the file system's.
	limit uint64
	// reserve is how many bytes are to stay free, as configured; see almostFull.
	reserve uint64

	checkedAt atomic.Int64
	full      atomic.Bool
}

// diskUsage is in bytes. used counts the store's own files; available is what is left for it.
type diskUsage struct{ capacity, used, available uint64 }

func (d *disk) usage() (diskUsage, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.path, &fs); err != nil {
		return diskUsage{}, fmt.Errorf("statfs %s: %w", d.path, err)
	}
	block := uint64(fs.Bsize)
	u := diskUsage{capacity: fs.Blocks * block, available: fs.Bavail * block}
	err := filepath.Walk(d.path, func(_ string, entry os.FileInfo, err error) error {
		// Files come and go while the engines compact; one that has just gone is not an error.
		if err == nil && entry.Mode().IsRegular() {
			if stat, ok := entry.Sys().(*syscall.Stat_t); ok {
				u.used += uint64(stat.Blocks) * 512
			}
		}
		return nil
	})
	if err != nil {
		return diskUsage{}, err
	}
	if d.limit > 0 && d.limit < u.capacity {
		u.capacity = d.limit
		left := uint64(0)
		if u.used < u.capacity {
			left = u.capacity - u.used
		}
		if left < u.available {
			u.available = left
		}
	}
	return u, nil
}

// almostFull tells whether writes must be refused now. TiKV keeps a reserve that is capped at 5 % of the disk; the answer is
// cached for a second because it is asked for by every write.
func (d *disk) almostFull() bool {
	now := time.Now().UnixNano()
	if last := d.checkedAt.Load(); now-last > int64(time.Second) && d.checkedAt.CompareAndSwap(last, now) {
		if u, err := d.usage(); err == nil {
			reserve := u.capacity / 20
			if d.reserve < reserve {
				reserve = d.reserve
			}
			d.full.Store(u.available < reserve)
		}
	}
	return d.full.Load()
}

// heldLock keeps the lock's file from being closed by the garbage collector.
var heldLock *os.File

// lockDataDir keeps a second process off the same data; the kernel drops the lock with the process.
func lockDataDir(path string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s/LOCK failed, maybe another instance of tikv-server is using this directory: %w", path, err)
	}
	heldLock = file
	return file, nil
}
