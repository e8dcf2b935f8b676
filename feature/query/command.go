package query

//go:generate go tool msgp -file command.go -o command_gen.go -tests=false -io=false

// Set creates a query, or replaces the whole of one.
type Set struct {
	Definition Definition `msg:"Definition"` // without indexes
	New        bool       `msg:"New"`        // there must not be one of the ID; else there must
}

// Delete removes a query.
type Delete struct {
	ID string `msg:"ID"` // in any case
}
