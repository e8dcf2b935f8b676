package member

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// The limits of a program that prints addresses to join.
const (
	programTime   = 10 * time.Second
	programOutput = 64 << 10 // bytes; a thousand addresses are a quarter of it
)

// runProgram runs a program without a shell and returns what it printed.
func runProgram(ctx context.Context, program []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	c := exec.CommandContext(ctx, program[0], program[1:]...)
	out, errs := &limited{max: programOutput}, &limited{max: 512}
	c.Stdout, c.Stderr = out, errs
	c.WaitDelay = time.Second // its children may hold the pipes open
	err := c.Run()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return nil, fmt.Errorf("the program took longer than %v and was ended", programTime)
	case out.over:
		return nil, fmt.Errorf("the program printed more than %d bytes", programOutput)
	case err != nil && errs.kept.Len() > 0:
		return nil, fmt.Errorf("the program failed: %w: %s", err, strings.Join(strings.Fields(errs.kept.String()), " "))
	case err != nil:
		return nil, fmt.Errorf("the program failed: %w", err)
	}
	return out.kept.Bytes(), nil
}

// limited keeps the first max bytes of what is written and forgets the rest.
type limited struct {
	kept bytes.Buffer // a field: its ReadFrom would know no limit
	max  int
	over bool
}

// Write never fails.
func (l *limited) Write(b []byte) (int, error) {
	keep := min(len(b), l.max-l.kept.Len())
	l.over = l.over || keep < len(b)
	l.kept.Write(b[:keep])
	return len(b), nil
}
