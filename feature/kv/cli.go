package kv

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"path"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// Verbs returns the commands of the key/value store.
func Verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "kv", Summary: "Reads and writes the key/value store", Help: `
Reads, writes and removes keys of the key/value store:

    $ {name} kv put redis/config/connections 5
    $ {name} kv get redis/config/connections
    5
    $ {name} kv get -recurse redis/`},
		{Path: "kv get", Summary: "Reads a key, or the keys under a prefix", Usage: "[options] [KEY_OR_PREFIX]", Flags: verbGet, Also: []string{"kv list", "kv ls", "kv read", "kv show", "kv keys"},
			Help: `
Prints the value of a key, as it is and with a newline. A missing key is an
error. With -recurse the keys that start with the prefix are printed with their
values, with -keys their names up to the next separator.

    $ {name} kv get -detailed redis/config/connections`},
		{Path: "kv put", Summary: "Sets or updates a key", Usage: "[options] KEY [DATA]", Flags: verbPut, Also: []string{"kv set", "kv write", "kv add"},
			Help: `
Writes DATA to a key. "@FILE" reads the data from a file and "-" from stdin,
byte for byte; without DATA the value is empty.

    $ {name} kv put config/page @page.json
    $ {name} kv put -cas -modify-index=844 config/page "new"`},
		{Path: "kv delete", Summary: "Removes a key, or all keys under a prefix", Usage: "[options] KEY_OR_PREFIX", Flags: verbDelete, Also: []string{"kv rm", "kv remove", "kv del"},
			Help: `
Removes a key; a key that does not exist is no error. With -recurse every key
that starts with the prefix is removed.

    $ {name} kv delete -recurse redis/`},
		{Path: "kv export", Summary: "Prints keys as JSON", Usage: "[options] [PREFIX]", Flags: verbExport, Help: `
Prints the keys that start with the prefix as a JSON array which
"{name} kv import" reads.

    $ {name} kv export redis/ > redis.json`},
		{Path: "kv import", Summary: "Writes keys from JSON", Usage: "[options] DATA", Flags: verbImport, Help: `
Writes the keys of a JSON array printed by "{name} kv export". DATA is the
JSON, "@FILE" or "-" for stdin. It stops at the first key that cannot be written.

    $ {name} kv import @redis.json`},
	}
}

// keyArg returns argument i without the slash that people like to start keys with; "" if it is missing.
func keyArg(c *cli.Call, i int) string {
	if i >= len(c.Args) {
		return ""
	}
	return strings.TrimPrefix(c.Args[i], "/")
}

func verbGet(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	encode := set.Bool("base64", false, "Print values in base64.")
	detailed := set.Bool("detailed", false, "Print flags, indexes and session too.")
	keys := set.Bool("keys", false, "Print names only, up to the next separator; all of them with -recurse.")
	recurse := set.Bool("recurse", false, "Print every key that starts with the prefix.")
	separator := set.String("separator", "/", "Where -keys cuts names.")
	return func(c *cli.Call) int {
		if c.TooMany(1) {
			return 1
		}
		key := keyArg(c, 0)
		if key == "" && !*keys && !*recurse {
			return c.Fail("Error! Missing KEY argument")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		switch {
		case *keys:
			if *recurse {
				*separator = ""
			}
			names, _, err := agent.KV().Keys(key, *separator, client.Query())
			if err != nil {
				return c.Fail("Error querying Consul agent: %s", err)
			}
			for _, name := range names {
				c.Say("%s", name)
			}
		case *recurse:
			pairs, _, err := agent.KV().List(key, client.Query())
			if err != nil {
				return c.Fail("Error querying Consul agent: %s", err)
			}
			return printPairs(c, pairs, *detailed, *encode)
		default:
			pair, _, err := agent.KV().Get(key, client.Query())
			switch {
			case err != nil:
				return c.Fail("Error querying Consul agent: %s", err)
			case pair == nil:
				return c.Fail("Error! No key exists at: %s", key)
			case *detailed:
				return printPairs(c, api.KVPairs{pair}, true, *encode)
			}
			c.Say("%s", shown(pair, *encode))
		}
		return 0
	}
}

// printPairs prints key:value lines, or a block for each pair with an empty line between two.
func printPairs(c *cli.Call, pairs api.KVPairs, detailed, encode bool) int {
	for i, pair := range pairs {
		if !detailed {
			c.Say("%s:%s", pair.Key, shown(pair, encode))
			continue
		}
		if i > 0 {
			c.Say("")
		}
		session := pair.Session
		if session == "" {
			session = "-"
		}
		number := func(n uint64) string { return strconv.FormatUint(n, 10) }
		err := cli.Tabs(c.Out, [][]string{
			{"CreateIndex", number(pair.CreateIndex)},
			{"Flags", number(pair.Flags)},
			{"Key", pair.Key},
			{"LockIndex", number(pair.LockIndex)},
			{"ModifyIndex", number(pair.ModifyIndex)},
			{"Session", session},
			{"Value", shown(pair, encode)},
		})
		if err != nil {
			return c.Fail("Error rendering KV pair: %s", err)
		}
	}
	return 0
}

// shown is a value as it is printed.
func shown(pair *api.KVPair, encode bool) string {
	if encode {
		return base64.StdEncoding.EncodeToString(pair.Value)
	}
	return string(pair.Value)
}

// putFlags are the flags of kv put that choose what kind of write it is.
type putFlags struct {
	cas, acquire, release, encoded bool
	index, flags                   uint64
	session                        string
}

// wrong returns what contradicts itself in the flags; "" if nothing does.
func (p *putFlags) wrong() string {
	chosen := 0
	for _, on := range []bool{p.cas, p.acquire, p.release} {
		if on {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return "Cannot use -cas, -acquire and -release together"
	case p.acquire && p.session == "":
		return "Missing -session (required for -acquire)"
	case p.release && p.session == "":
		return "Missing -session (required for -release)"
	}
	return ""
}

func verbPut(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	p := new(putFlags)
	set.BoolVar(&p.acquire, "acquire", false, "Take the lock on the key for -session.")
	set.BoolVar(&p.release, "release", false, "Give the lock on the key back; needs -session.")
	set.StringVar(&p.session, "session", "", "Session `ID` that takes or gives back the lock.")
	set.BoolVar(&p.cas, "cas", false, "Write only if the key still has -modify-index, or does not exist if that is 0.")
	set.Uint64Var(&p.index, "modify-index", 0, "Modify index that -cas compares with.")
	set.Uint64Var(&p.flags, "flags", 0, "Number to store beside the value.")
	set.BoolVar(&p.encoded, "base64", false, "DATA is in base64: decode it before writing.")
	return func(c *cli.Call) int {
		if c.TooMany(2) {
			return 1
		}
		pair := &api.KVPair{Key: keyArg(c, 0), Flags: p.flags, Session: p.session, ModifyIndex: p.index}
		if pair.Key == "" {
			return c.Fail("Error! Missing KEY argument")
		}
		if wrong := p.wrong(); wrong != "" {
			return c.Fail("Error! %s", wrong)
		}
		if len(c.Args) == 2 {
			data, err := c.Data(c.Args[1])
			if err != nil {
				return c.Fail("Error! %s", err)
			}
			pair.Value = data
		}
		if p.encoded {
			data, err := base64.StdEncoding.DecodeString(string(pair.Value))
			if err != nil {
				return c.Fail("Error! Cannot base64 decode data: %s", err)
			}
			pair.Value = data
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		return p.put(c, agent.KV(), pair)
	}
}

// put does the write that the flags ask for and says how it went.
func (p *putFlags) put(c *cli.Call, kv *api.KV, pair *api.KVPair) int {
	ok, done, refused := true, "Data written to: "+pair.Key, ""
	var err error
	switch {
	case p.cas:
		ok, _, err = kv.CAS(pair, nil)
		refused = "Did not write to " + pair.Key + ": CAS failed"
		if p.index == 0 {
			refused = "Did not write to " + pair.Key + ": CAS performed with index=0 and key already exists."
		}
	case p.acquire:
		ok, _, err = kv.Acquire(pair, nil)
		done, refused = "Lock acquired on: "+pair.Key, "Did not acquire lock"
	case p.release:
		ok, _, err = kv.Release(pair, nil)
		done, refused = "Lock released on: "+pair.Key, "Did not release lock"
	default:
		_, err = kv.Put(pair, nil)
	}
	switch {
	case err != nil:
		return c.Fail("Error! Failed writing data: %s", err)
	case !ok:
		return c.Fail("Error! %s", refused)
	}
	c.Say("Success! %s", done)
	return 0
}

func verbDelete(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	cas := set.Bool("cas", false, "Remove the key only if it still has -modify-index.")
	index := set.Uint64("modify-index", 0, "Modify index that -cas compares with; above 0.")
	recurse := set.Bool("recurse", false, "Remove every key that starts with the prefix; all keys if there is none.")
	return func(c *cli.Call) int {
		if c.TooMany(1) {
			return 1
		}
		key := keyArg(c, 0)
		switch {
		case key == "" && !*recurse:
			return c.Fail("Error! Missing KEY argument")
		case *cas && *recurse:
			return c.Fail("Error! Cannot use -cas and -recurse together")
		case *cas && *index == 0:
			return c.Fail("Error! -cas needs a -modify-index above 0")
		case *index > 0 && !*cas:
			return c.Fail("Error! -modify-index is of use with -cas only")
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		ok, done := true, "Deleted key: "+key
		switch {
		case *recurse:
			done = "Deleted keys with prefix: " + key
			_, err = agent.KV().DeleteTree(key, nil)
		case *cas:
			ok, _, err = agent.KV().DeleteCAS(&api.KVPair{Key: key, ModifyIndex: *index}, nil)
		default:
			_, err = agent.KV().Delete(key, nil)
		}
		switch {
		case err != nil:
			return c.Fail("Error! Failed deleting %s: %s", key, err)
		case !ok:
			return c.Fail("Error! Did not delete key %s: CAS failed", key)
		}
		c.Say("Success! %s", done)
		return 0
	}
}

// exported is one key as kv export prints it and kv import reads it; Value is base64.
type exported struct {
	Key       string `json:"key"`
	Flags     uint64 `json:"flags"`
	Value     string `json:"value"`
	Namespace string `json:"namespace,omitempty"`
	Partition string `json:"partition,omitempty"`
}

func verbExport(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	return func(c *cli.Call) int {
		if c.TooMany(1) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		pairs, _, err := agent.KV().List(keyArg(c, 0), client.Query())
		if err != nil {
			return c.Fail("Error querying Consul agent: %s", err)
		}
		all := make([]exported, len(pairs))
		for i, p := range pairs {
			all[i] = exported{p.Key, p.Flags, shown(p, true), p.Namespace, p.Partition}
		}
		text, err := json.MarshalIndent(all, "", "\t")
		if err != nil {
			return c.Fail("Error exporting KV data: %s", err)
		}
		c.Say("%s", text)
		return 0
	}
}

func verbImport(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	prefix := set.String("prefix", "", "Prefix to put in front of every key.")
	return func(c *cli.Call) int {
		if c.TooMany(1) {
			return 1
		}
		if len(c.Args) == 0 {
			return c.Fail("Error! Missing DATA argument")
		}
		data, err := c.Data(c.Args[0])
		if err != nil {
			return c.Fail("Error! %s", err)
		}
		var all []exported
		if err := json.Unmarshal(data, &all); err != nil {
			return c.Fail("Cannot unmarshal data: %s", err)
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		for _, e := range all {
			value, err := base64.StdEncoding.DecodeString(e.Value)
			if err != nil {
				return c.Fail("Error base64 decoding value for key %s: %s", e.Key, err)
			}
			pair := &api.KVPair{Key: importKey(*prefix, e.Key), Flags: e.Flags, Value: value}
			opts := &api.WriteOptions{Namespace: e.Namespace, Partition: e.Partition}
			if _, err := agent.KV().Put(pair, opts); err != nil {
				return c.Fail("Error! Failed writing data for key %s: %s", pair.Key, err)
			}
			c.Say("Imported: %s", pair.Key)
		}
		return 0
	}
}

// importKey joins prefix and key like path elements, but keeps the slash that ends a folder's key and drops one at the
// start, as kv put does.
func importKey(prefix, key string) string {
	joined := path.Join(prefix, key)
	if strings.HasSuffix(key, "/") && !strings.HasSuffix(joined, "/") {
		joined += "/"
	}
	return strings.TrimPrefix(joined, "/")
}
