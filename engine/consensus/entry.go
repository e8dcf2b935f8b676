package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

const (
	entryVersion = 1
	entryHeader  = 1 + 8 + 4
	entrySum     = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errEntryChecksum = errors.New("its checksum is wrong: the log is damaged")

// encodeEntry packs Commands; see the package comment for the format. size is the sum of their lengths.
func encodeEntry(time int64, commands [][]byte, size int) []byte {
	b := make([]byte, 0, entryHeader+4*len(commands)+size+entrySum)
	b = append(b, entryVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(time))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(commands)))
	for _, c := range commands {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(c)))
		b = append(b, c...)
	}
	return appendSum(b)
}

func appendSum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeEntry unpacks what encodeEntry packed. The Commands share data's memory.
func decodeEntry(data []byte) (time int64, commands [][]byte, err error) {
	if len(data) == 0 {
		return 0, nil, errors.New("it is empty")
	}
	if data[0] != entryVersion {
		return 0, nil, fmt.Errorf("its format is version %d, this program knows %d: it was written by a newer version", data[0], entryVersion)
	}
	if len(data) < entryHeader+entrySum {
		return 0, nil, errors.New("it is cut short")
	}
	body, sum := data[:len(data)-entrySum], binary.LittleEndian.Uint32(data[len(data)-entrySum:])
	if crc32.Checksum(body, castagnoli) != sum {
		return 0, nil, errEntryChecksum
	}
	time = int64(binary.LittleEndian.Uint64(body[1:]))
	n := int(binary.LittleEndian.Uint32(body[9:]))
	rest := body[entryHeader:]
	if n < 1 || n > len(rest)/4 {
		return 0, nil, fmt.Errorf("it claims %d commands in %d bytes", n, len(rest))
	}
	commands = make([][]byte, n)
	for i := range commands {
		if len(rest) < 4 {
			return 0, nil, errors.New("a command is cut short")
		}
		l := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		if uint64(l) > uint64(min(len(rest), math.MaxInt32)) {
			return 0, nil, errors.New("a command is cut short")
		}
		commands[i], rest = rest[:l:l], rest[l:]
	}
	if len(rest) != 0 {
		return 0, nil, fmt.Errorf("%d bytes follow the last command", len(rest))
	}
	return time, commands, nil
}
