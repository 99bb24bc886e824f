// What the load writes: keys of a bounded space, and values that prove by themselves whose write they are.
package main

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	// rotating keys are rewritten in turn; pinned ones are written once and stay, so that there is always an old write to lose.
	// All begin with "t" as a TiDB table's do: unistore knows no other user data, and files its transaction records under the next letter.
	rotatingPrefix = "t/oplab-load/r/"
	pinnedPrefix   = "t/oplab-load/p/"
	probePrefix    = "t/oplab-load/x/"
)

func rotatingKey(n int) string { return fmt.Sprintf("%s%08d", rotatingPrefix, n) }
func pinnedKey(n int) string   { return fmt.Sprintf("%s%04d", pinnedPrefix, n) }

// encodeValue renders ledger id, key, version and padding under a checksum, size bytes long (more, if they need more).
func encodeValue(ledgerID, key string, version uint64, size int) []byte {
	body := fmt.Sprintf("%s %s %d ", ledgerID, key, version)
	if missing := size - len(body) - 9; missing > 0 {
		body += strings.Repeat("·", missing/2)
	}
	return []byte(fmt.Sprintf("%08x %s", crc32.ChecksumIEEE([]byte(body)), body))
}

// decodeValue returns the version of a value of this ledger and key; an error says why it is not one.
func decodeValue(ledgerID, key string, value []byte) (uint64, error) {
	sum, body, ok := strings.Cut(string(value), " ")
	if !ok || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return 0, fmt.Errorf("checksum does not match")
	}
	fields := strings.SplitN(body, " ", 4)
	if len(fields) < 3 {
		return 0, fmt.Errorf("not a value of the load")
	}
	if fields[0] != ledgerID {
		return 0, fmt.Errorf("written under another ledger (%s)", fields[0])
	}
	if fields[1] != key {
		return 0, fmt.Errorf("written for another key (%s)", fields[1])
	}
	version, err := strconv.ParseUint(fields[2], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("version: %w", err)
	}
	return version, nil
}
