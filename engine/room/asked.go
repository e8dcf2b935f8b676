package room

import "context"

type askedKey struct{}

// Asked says that what is done in the context was asked for by somebody else: a client of HTTP or another agent, at an
// address. Servers count that against limits.request_limits; what an agent does of its own accord is never held up.
func Asked(ctx context.Context, from string) context.Context {
	return context.WithValue(ctx, askedKey{}, from)
}

// Asker returns who asked for what is done in the context, "" if nobody did.
func Asker(ctx context.Context) string {
	from, _ := ctx.Value(askedKey{}).(string)
	return from
}
