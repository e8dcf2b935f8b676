package session

//go:generate go tool msgp -file command.go -o command_gen.go -tests=false -io=false

// Create makes a session. Its Result is the session's ID.
type Create struct {
	Session Session `msg:"Session"` // without indexes
	rules   int     `msg:"-"`
}

// Destroy ends a session. It is no error if there is none. Its Result is true.
type Destroy struct {
	ID string `msg:"ID"`
}

// Renew gives a session its whole time to live again. Its Result is the *Session.
type Renew struct {
	ID string `msg:"ID"`
}

// Expire ends those of the sessions that have not been renewed since the leader looked. Its Result is how many.
type Expire struct {
	Seen []Seen `msg:"Seen"`
}

// Seen is a session with the renewal that the leader saw, by its clock in Unix nanoseconds.
type Seen struct {
	ID      string `msg:"ID"`
	Renewed int64  `msg:"Renewed"`
}
