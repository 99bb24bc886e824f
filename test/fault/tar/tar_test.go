// Reads archives as the Docker daemon does, and compares what it finds with what oplab recorded.

package tar

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

type archive struct {
	Bytes string   `json:"bytes"`
	Lines []string `json:"lines"`
}

// read returns a line for each entry.
func read(content []byte) ([]string, error) {
	lines := []string{}
	for reader := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := reader.Next()
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		// The daemon ignores these, too.
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return lines, err
		}
		flag := header.Typeflag
		if flag == 0 {
			flag = tar.TypeReg
		}
		lines = append(lines, fmt.Sprintf("%c %x %x %o %d:%d %x",
			flag, header.Name, header.Linkname, header.Mode, header.Uid, header.Gid, content))
	}
}

func TestArchives(t *testing.T) {
	file := os.Getenv("OPLAB_ARCHIVES")
	if file == "" {
		t.Skip("../tar-read.test.ts runs this test")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var archives []archive
	if err := json.Unmarshal(text, &archives); err != nil {
		t.Fatal(err)
	}
	for at, archive := range archives {
		content, err := hex.DecodeString(archive.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := read(content)
		if err != nil {
			t.Errorf("archive %d: Go reads it with an error: %v", at, err)
		}
		if got, want := strings.Join(lines, "\n"), strings.Join(archive.Lines, "\n"); got != want {
			t.Errorf("archive %d: Go reads\n%s\nand oplab recorded\n%s\n%s", at, got, want, archive.Bytes)
		}
	}
}
