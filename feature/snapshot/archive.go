package snapshot

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The files of an archive, and how long the two small ones may be.
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
	sumsFile  = "SHA256SUMS"

	smallFile = 1 << 20
)

// archiveMeta is what an archive, or a snapshot in a data directory, says of itself.
type archiveMeta struct {
	ID          string // term, index and time of its making
	Size        int64  // of the state, in bytes
	Index, Term uint64 // of the newest log entry in it
	Version     int    // of the metadata
}

// readArchive reads an archive to its end and checks that it has its three files, each once, and that the first two
// have the hashes the third says. state is given the content of the second when its turn comes and may leave a rest;
// what it learns counts only once the whole archive proved sound. Memory is bounded whatever the archive says.
func readArchive(r io.Reader, state func(io.Reader) error) (meta archiveMeta, err error) {
	unzipped, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return meta, fmt.Errorf("cannot decompress it: %w", err)
	}
	sums := map[string]string{}
	small := map[string][]byte{}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return meta, fmt.Errorf("cannot read it: %w", err)
		}
		name := header.Name
		if name != metaFile && name != stateFile && name != sumsFile {
			return meta, fmt.Errorf("unexpected file %q", name)
		}
		if _, twice := sums[name]; twice {
			return meta, fmt.Errorf("file %q is there twice", name)
		}
		hash := sha256.New()
		if name == stateFile {
			content := io.TeeReader(files, hash)
			if err = state(content); err == nil {
				_, err = io.Copy(io.Discard, content)
			}
		} else {
			small[name], err = readSmall(io.TeeReader(files, hash))
		}
		if err != nil {
			return meta, fmt.Errorf("cannot read %s: %w", name, err)
		}
		sums[name] = hex.EncodeToString(hash.Sum(nil))
	}
	// Only at its very end does gzip check its own sum and length.
	if _, err := io.Copy(io.Discard, unzipped); err != nil {
		return meta, fmt.Errorf("cannot decompress it: %w", err)
	}
	if err := checkSums(small[sumsFile], sums); err != nil {
		return meta, err
	}
	if err := json.Unmarshal(small[metaFile], &meta); err != nil {
		return meta, fmt.Errorf("cannot read %s: %w", metaFile, err)
	}
	return meta, nil
}

// readSmall reads a file that may not be longer than smallFile.
func readSmall(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, smallFile+1))
	if err == nil && len(b) > smallFile {
		return nil, fmt.Errorf("it is longer than %d bytes", smallFile)
	}
	return b, err
}

// checkSums compares the lines "<hash>  <file>" with the hashes found.
func checkSums(lines []byte, found map[string]string) error {
	want := map[string]string{}
	for line := range strings.Lines(string(lines)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if !ok || (name != metaFile && name != stateFile) {
			return fmt.Errorf("unexpected line in %s: %q", sumsFile, line)
		}
		if _, twice := want[name]; twice {
			return fmt.Errorf("%s names %q twice", sumsFile, name)
		}
		want[name] = sum
	}
	for _, name := range []string{metaFile, stateFile} {
		switch {
		case found[name] == "":
			return fmt.Errorf("file %q is missing", name)
		case want[name] == "":
			return fmt.Errorf("no hash for %q", name)
		case !strings.EqualFold(want[name], found[name]):
			return fmt.Errorf("hash check failed for %q", name)
		}
	}
	return nil
}
