package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"rostra/engine/room"
	"rostra/engine/rpc"
	"rostra/kit/fault"
)

// chunks writes a byte stream as frames. An empty frame ends it: without one it is cut short.
type chunks struct{ s rpc.Stream }

// Write sends b in frames: copies, because the caller uses b again and a stream keeps what it was given.
func (c chunks) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), frameBytes)]
		if err := c.s.Send(bytes.Clone(part)); err != nil {
			return n, err
		}
		n += len(part)
		b = b[len(part):]
	}
	return n, nil
}

func (c chunks) end() error { return c.s.Send([]byte{}) }

// unchunked reads it back.
type unchunked struct {
	s    rpc.Stream
	left []byte
	over bool
}

// Read implements io.Reader; the end of the stream before its last frame is io.ErrUnexpectedEOF.
func (u *unchunked) Read(b []byte) (int, error) {
	for len(u.left) == 0 {
		if u.over {
			return 0, io.EOF
		}
		part, err := u.s.Recv()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		u.left, u.over = part, len(part) == 0
	}
	n := copy(b, u.left)
	u.left = u.left[n:]
	return n, nil
}

func (h *Host) archive(ctx context.Context, s rpc.Stream) error {
	body, err := s.Recv()
	if err != nil {
		return err
	}
	ask, err := decode[archiveAsk](body)
	if err != nil {
		return err
	}
	write, index, err := h.group.Archive(ctx, ask.Asking.options())
	if err != nil {
		return err
	}
	head, err := (&archiveHead{Index: index}).MarshalMsg(nil)
	if err != nil {
		return err
	}
	if err := s.Send(head); err != nil {
		return errors.Join(err, write(io.Discard)) // it must be called
	}
	if err := write(chunks{s}); err != nil {
		return err
	}
	return chunks{s}.end()
}

func (h *Host) restore(ctx context.Context, s rpc.Stream) error {
	body, err := s.Recv()
	if err != nil {
		return err
	}
	ask, err := decode[archiveAsk](body)
	if err != nil {
		return err
	}
	b, err := func() ([]byte, error) {
		v := verdictOf(h.group.Unarchive(ctx, &unchunked{s: s}, ask.Asking.options()))
		return v.MarshalMsg(nil)
	}()
	if err != nil {
		return err
	}
	return s.Send(b)
}

// Archive asks the server for an archive.
func (c *Client) Archive(ctx context.Context, o room.Options) (write func(io.Writer) error, index uint64, err error) {
	ctx, end := context.WithCancel(ctx)
	s, err := c.open(ctx, methodArchive, o)
	if err != nil {
		end()
		return nil, 0, err
	}
	body, err := s.Recv()
	if err != nil {
		end()
		return nil, 0, ended(err)
	}
	head, err := decode[archiveHead](body)
	if err != nil {
		end()
		return nil, 0, err
	}
	return func(w io.Writer) error {
		defer end()
		_, err := io.Copy(w, &unchunked{s: s})
		return err
	}, head.Index, nil
}

// Unarchive sends the server an archive that replaces the state.
func (c *Client) Unarchive(ctx context.Context, r io.Reader, o room.Options) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	s, err := c.open(ctx, methodRestore, o)
	if err != nil {
		return err
	}
	// A server that refuses says so before it has read everything: then sending fails, and the answer tells why.
	from := &noted{r: r}
	_, sent := io.Copy(chunks{s}, from)
	if from.err != nil {
		return fmt.Errorf("cannot read the archive: %w", from.err) // the stream ends with this call, and so the server's wait
	}
	if sent == nil {
		sent = chunks{s}.end()
	}
	body, err := s.Recv()
	if err != nil {
		return errors.Join(ended(err), sent)
	}
	v, err := decode[verdict](body)
	if err != nil {
		return err
	}
	return v.err()
}

// noted is a reader that keeps its error, apart from those of who writes what it reads.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(b []byte) (int, error) {
	k, err := n.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

func (c *Client) open(ctx context.Context, method string, o room.Options) (rpc.Stream, error) {
	s, err := c.all.port.Stream(ctx, c.to, method)
	if err != nil {
		return nil, err
	}
	b, err := (&archiveAsk{Asking: askingOf(o)}).MarshalMsg(nil)
	if err != nil {
		return nil, err
	}
	return s, s.Send(b)
}

// ended makes a fault of a stream's early end.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Unknown, "the server ended the stream too early")
	}
	return err
}
