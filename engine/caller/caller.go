// Package caller says who asked for what is being done, in the context that it is done in: a client of HTTP or another
// agent. Servers count that against limits.request_limits; what an agent does of its own accord, for which there is no
// caller, is never held up.
package caller

import "context"

type key struct{}

// With returns a context for what somebody at an address has asked for.
func With(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, key{}, address)
}

// Of returns the address of who asked, "" if nobody did.
func Of(ctx context.Context) string {
	address, _ := ctx.Value(key{}).(string)
	return address
}
