package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rostra/kit/disk"
)

var errRecordDamaged = errors.New("its checksum is wrong: the file is damaged")

// encodeRecord writes v as one line of JSON and one with its checksum.
func encodeRecord(v any) ([]byte, error) {
	line, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(line, "\n%08x\n", crc32.Checksum(line, castagnoli)), nil
}

// decodeRecord reads what encodeRecord wrote. Unknown fields are an error: they come from a newer version.
func decodeRecord(data []byte, v any) error {
	line, sum, ok := bytes.Cut(data, []byte("\n"))
	want, err := strconv.ParseUint(string(bytes.TrimSuffix(sum, []byte("\n"))), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.Checksum(line, castagnoli) {
		return errRecordDamaged
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func readRecord(fs disk.FS, name string, v any) error {
	data, err := disk.ReadFile(fs, name)
	if err != nil {
		return err
	}
	if err := decodeRecord(data, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	return nil
}

func writeRecord(fs disk.FS, name string, v any) error {
	data, err := encodeRecord(v)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return disk.WriteFile(fs, name, data, 0o600)
}

// formatVersion is the version of the whole directory.
const formatVersion = 1

type formatRecord struct{ Format int }

// prepareDir makes the directory ours or checks that it is.
func prepareDir(fs disk.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create %s: %w", dir, err)
	}
	name := filepath.Join(dir, "format")
	var f formatRecord
	err := readRecord(fs, name, &f)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return claimDir(fs, dir, name)
	case err != nil:
		return fmt.Errorf("%w; restore it from a copy, or move %s away and start anew", err, dir)
	case f.Format != formatVersion:
		return fmt.Errorf("cannot use %s: %s says format %d, this program knows %d; use the version that wrote it or a newer one",
			dir, name, f.Format, formatVersion)
	}
	return nil
}

func claimDir(fs disk.FS, dir, name string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("cannot list %s: %w", dir, err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n, disk.TempSuffix) {
			return fmt.Errorf("cannot use %s: it holds %s and no file named format, so another program wrote it; "+
				"choose another data directory or move this one away", dir, filepath.Join(dir, n))
		}
	}
	return writeRecord(fs, name, formatRecord{formatVersion})
}
