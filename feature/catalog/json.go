package catalog

import (
	"strconv"
	"sync/atomic"

	"rostra/kit/httpd"
	"rostra/kit/wire"
)

// cached returns the bytes kept at p, made at the first call. Two readers may make them at once; they are equal.
func cached(p *atomic.Pointer[[]byte], encode func([]byte) []byte) []byte {
	if b := p.Load(); b != nil {
		return *b
	}
	b := encode(make([]byte, 0, 512))
	b = append(make([]byte, 0, len(b)), b...)
	p.Store(&b)
	return b
}

// appendPairs appends a JSON object; nil is null.
func appendPairs(b []byte, p wire.Pairs) []byte {
	if p == nil {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for i, e := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = httpd.AppendString(append(httpd.AppendString(b, e.Key), ':'), e.Value)
	}
	return append(b, '}')
}

func appendIndexes(b []byte, create, modify uint64) []byte {
	b = strconv.AppendUint(append(b, `,"CreateIndex":`...), create, 10)
	return strconv.AppendUint(append(b, `,"ModifyIndex":`...), modify, 10)
}
