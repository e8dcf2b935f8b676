package wire

import (
	"crypto/rand"
	"fmt"
)

// NewID returns a random ID in the form of a UUID: 36 characters, all 128 bits random (spec http/conventions.md §13).
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
