// Verifies a log that oplab signed with the code of Go's own transparency log.

package tlog

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Path  []string `json:"path"`
}

type signedLog struct {
	Vkey        string   `json:"vkey"`
	Checkpoints []string `json:"checkpoints"`
	Heads       string   `json:"heads"`
	Leaves      []string `json:"leaves"`
	Proofs      []proof  `json:"proofs"`
}

func parseHash(t *testing.T, text string) tlog.Hash {
	t.Helper()
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(bytes) != tlog.HashSize {
		t.Fatalf("%q is not a hash: %v", text, err)
	}
	return tlog.Hash(bytes)
}

// openCheckpoint returns the size and the root of a checkpoint whose signature is valid.
func openCheckpoint(t *testing.T, text string, verifiers note.Verifiers, origin string) tlog.Tree {
	t.Helper()
	opened, err := note.Open([]byte(text), verifiers)
	if err != nil {
		t.Fatalf("note.Open: %v", err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		t.Fatalf("%q is not a checkpoint of %s", opened.Text, origin)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: parseHash(t, lines[2])}
}

func TestSignedLog(t *testing.T) {
	file := os.Getenv("OPLAB_SIGNED_LOG")
	if file == "" {
		t.Fatal("OPLAB_SIGNED_LOG is not set; signed-log-interop.test.ts sets it")
	}
	bytes, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var log signedLog
	if err := json.Unmarshal(bytes, &log); err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(log.Vkey)
	if err != nil {
		t.Fatalf("note.NewVerifier: %v", err)
	}
	verifiers := note.VerifierList(verifier)
	if _, err := note.Open([]byte(log.Heads), verifiers); err != nil {
		t.Fatalf("the list of heads: %v", err)
	}

	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, hashes[index])
		}
		return found, nil
	})
	for number, leaf := range log.Leaves {
		stored, err := tlog.StoredHashes(int64(number), []byte(leaf), reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, stored...)
	}

	var earlier tlog.Tree
	for _, text := range log.Checkpoints {
		tree := openCheckpoint(t, text, verifiers, verifier.Name())
		root, err := tlog.TreeHash(tree.N, reader)
		if err != nil || root != tree.Hash {
			t.Fatalf("the root of %d leaves is %v, not %v: %v", tree.N, root, tree.Hash, err)
		}
		if earlier.N > 0 {
			consistency, err := tlog.ProveTree(tree.N, earlier.N, reader)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(consistency, tree.N, tree.Hash, earlier.N, earlier.Hash); err != nil {
				t.Fatalf("checkpoint %d does not continue checkpoint %d: %v", tree.N, earlier.N, err)
			}
		}
		earlier = tree
	}
	if len(log.Proofs) == 0 || len(log.Checkpoints) < 2 {
		t.Fatal("there is nothing to check")
	}
	for _, proof := range log.Proofs {
		var path tlog.RecordProof
		for _, hash := range proof.Path {
			path = append(path, parseHash(t, hash))
		}
		root, err := tlog.TreeHash(proof.Size, reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := tlog.RecordHash([]byte(log.Leaves[proof.Index]))
		if err := tlog.CheckRecord(path, proof.Size, root, proof.Index, leaf); err != nil {
			t.Fatalf("leaf %d of %d: %v", proof.Index, proof.Size, err)
		}
	}
}
