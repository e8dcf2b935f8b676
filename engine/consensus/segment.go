package consensus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/hashicorp/raft-wal/types"

	"rostra/kit/disk"
)

// The frames of a raft-wal segment: a file header, then for each append its entries, perhaps the index that seals the
// segment, and a commit frame with the CRC32C of everything since the commit before it. raft-wal itself believes the
// last append if its checksum is right and forgets, silently, all that follows the first frame it cannot parse.
const (
	segmentHeader = 32
	frameHeader   = 8
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

// segmentContent is what a segment holds in whole appends.
type segmentContent struct {
	last, end  int64  // where the last whole append begins and ends
	entries    uint64 // in whole appends
	indexStart uint64 // where the index is, if they seal the segment
}

// checkSegment reads a segment whole and verifies every append. What follows the last good append of the unsealed
// segment is wiped if it is an append that was never finished; if it was finished once, the segment is damaged. written
// says that at least one append to it was.
func checkSegment(fs disk.FS, name string, info types.SegmentInfo, written bool) (segmentContent, error) {
	sealed := !info.SealTime.IsZero()
	flag := os.O_RDWR
	if sealed {
		flag = os.O_RDONLY
	}
	f, err := fs.OpenFile(name, flag, 0)
	if err != nil {
		return segmentContent{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return segmentContent{}, err
	}
	found, err := walkSegment(io.NewSectionReader(f, 0, size), info)
	if err != nil {
		return found, fmt.Errorf("%s: %w", name, err)
	}
	if sealed {
		if found.indexStart != info.IndexStart || info.BaseIndex+found.entries <= info.MaxIndex {
			return found, fmt.Errorf("%s is damaged at byte %d", name, found.end)
		}
		return found, nil
	}
	if written && found.end == 0 {
		return found, fmt.Errorf("%s is damaged at its beginning", name)
	}
	rest, err := nonZeroRest(f, found.end, size)
	if err != nil {
		return found, err
	}
	if holdsAppend(rest) {
		return found, fmt.Errorf("%s is damaged at byte %d: whole entries follow", name, found.end)
	}
	if len(rest) == 0 {
		return found, nil
	}
	if _, err := f.WriteAt(make([]byte, len(rest)), found.end); err != nil {
		return found, err
	}
	return found, f.Sync()
}

// rewriteLast writes the last append of a segment once more and syncs it. If the fsync of an earlier process failed, that
// append may be in the kernel's cache and on no disk, and count as clean. Every append before it was on disk when the next
// began.
func rewriteLast(fs disk.FS, name string, found segmentContent) error {
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	again := make([]byte, found.end-found.last)
	if n, err := f.ReadAt(again, found.last); n < len(again) {
		return err
	}
	if _, err := f.WriteAt(again, found.last); err != nil {
		return err
	}
	return f.Sync()
}

// walkSegment goes over the appends from the start to the first that is not whole.
func walkSegment(r io.Reader, info types.SegmentInfo) (segmentContent, error) {
	var found segmentContent
	br := bufio.NewReaderSize(r, 256<<10)
	header, err := br.Peek(segmentHeader)
	if err != nil {
		return found, ignoreEOF(err)
	}
	if foreign := checkHeader(header, info); foreign != nil {
		if bytes.Equal(header, make([]byte, segmentHeader)) {
			return found, nil // nothing was ever written
		}
		err = foreign // believed only if an append with a right checksum says so
	}
	sum := crc32.Checksum(header, castagnoli)
	_, _ = br.Discard(segmentHeader)
	at, entries, index := int64(segmentHeader), uint64(0), uint64(0)
	for {
		typ, value, ok := readFrame(br)
		if !ok {
			return found, nil
		}
		if typ == frameCommit {
			if value != sum {
				return found, nil
			}
			if err != nil {
				return found, err
			}
			at += frameHeader
			found = segmentContent{last: found.end, end: at, entries: found.entries + entries, indexStart: index}
			sum, entries = 0, 0
			continue
		}
		length := frameHeader + padded(value)
		if typ == frameIndex {
			index = uint64(at) + frameHeader
		} else {
			entries++
		}
		at += length
		if sum, ok = sumFrame(br, sum, length); !ok {
			return found, nil
		}
	}
}

func checkHeader(h []byte, info types.SegmentInfo) error {
	if h[7] != 0 && binary.LittleEndian.Uint32(h) == 0x58eb6b0d {
		return fmt.Errorf("its format is version %d, this program knows 0", h[7])
	}
	if binary.LittleEndian.Uint64(h) != 0x58eb6b0d || binary.LittleEndian.Uint64(h[8:]) != info.BaseIndex ||
		binary.LittleEndian.Uint64(h[16:]) != info.ID || binary.LittleEndian.Uint64(h[24:]) != info.Codec {
		return errors.New("it is not the segment its name says")
	}
	return nil
}

// readFrame looks at the next frame's header. A commit's is consumed; of others, sumFrame consumes header and payload.
func readFrame(br *bufio.Reader) (typ byte, value uint32, ok bool) {
	h, err := br.Peek(frameHeader)
	if err != nil || h[0] < frameEntry || h[0] > frameCommit || h[1]|h[2]|h[3] != 0 {
		return 0, 0, false
	}
	typ, value = h[0], binary.LittleEndian.Uint32(h[4:])
	if typ == frameCommit {
		_, _ = br.Discard(frameHeader)
	}
	return typ, value, true
}

func sumFrame(br *bufio.Reader, sum uint32, length int64) (uint32, bool) {
	for length > 0 {
		b, err := br.Peek(int(min(length, 64<<10)))
		if err != nil {
			return 0, false
		}
		sum = crc32.Update(sum, castagnoli, b)
		_, _ = br.Discard(len(b))
		length -= int64(len(b))
	}
	return sum, true
}

func padded(n uint32) int64 { return (int64(n) + 7) &^ 7 }

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// nonZeroRest returns the bytes from start up to the last one that is not zero.
func nonZeroRest(f disk.File, start, size int64) ([]byte, error) {
	var rest []byte
	keep := 0
	buf := make([]byte, 256<<10)
	for at := start; at < size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if last := len(bytes.TrimRight(buf[:n], "\x00")); last > 0 {
			rest = append(rest, make([]byte, int(at-start)-len(rest))...)
			rest = append(rest, buf[:last]...)
			keep = len(rest)
		}
		at += int64(n)
	}
	return rest[:keep], nil
}

// holdsAppend reports whether a whole append begins anywhere in b: then what is broken before it had been finished, for
// an append starts only when the one before it is on disk.
func holdsAppend(b []byte) bool {
	for at := 0; at+frameHeader <= len(b); at += frameHeader {
		if b[at] == frameEntry && wholeAppend(b[at:]) {
			return true
		}
	}
	return false
}

func wholeAppend(b []byte) bool {
	sum, at := uint32(0), int64(0)
	for at+frameHeader <= int64(len(b)) {
		h := b[at : at+frameHeader]
		value := binary.LittleEndian.Uint32(h[4:])
		switch {
		case h[1]|h[2]|h[3] != 0 || h[0] < frameEntry || h[0] > frameCommit:
			return false
		case h[0] == frameCommit:
			return value == sum
		}
		next := at + frameHeader + padded(value)
		if next > int64(len(b)) {
			return false
		}
		sum = crc32.Update(sum, castagnoli, b[at:next])
		at = next
	}
	return false
}
