package relay

// Limit lowers the limits; 0 leaves one as it is. It is called before the first watch.
func (h *Host) Limit(unsent, streams, connection, token int) {
	l := &h.watches.limits
	for _, one := range []struct {
		limit *int
		to    int
	}{{&l.unsent, unsent}, {&l.streams, streams}, {&l.connection, connection}, {&l.token, token}} {
		if one.to > 0 {
			*one.limit = one.to
		}
	}
}

// FrameOf returns of a frame of news its subscription, whether it is of a change, and whether more of the answer follows.
func FrameOf(b []byte) (id uint64, change, more bool) {
	n, err := decode[news](b)
	if err != nil {
		panic(err)
	}
	return n.ID, n.From != 0, n.More
}

// Unaware makes of what an agent says what one says that does not know changes.
func Unaware(b []byte) []byte {
	w, err := decode[want](b)
	if err != nil {
		panic(err)
	}
	w.Changes = false
	b, err = w.MarshalMsg(nil)
	if err != nil {
		panic(err)
	}
	return b
}
