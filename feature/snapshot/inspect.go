package snapshot

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"rostra/kit/cli"
	"rostra/kit/store"
)

// typeNames are Consul's names for the tables that hold what its record types hold (spec cli.md, snapshot); other tables
// go by their own names.
var typeNames = map[string]string{
	"nodes": "Register", "services": "Register", "checks": "Register",
	"kv": kvType, "kv.tombstones": "Tombstone", "kv.trees": "Tombstone",
	"sessions": "Session", "queries": "PreparedQuery", "coordinates": "CoordinateBatchUpdate", "autopilot": "Autopilot",
	"connect.roots": "ConnectCA", "store.touched": "Index",
}

const kvType = "KVS"

func typeOf(table string) string { return cmp.Or(typeNames[table], table) }

// share is how much of a state something takes: a type of records, or a prefix of keys.
type share struct {
	Name  string
	Sum   int // bytes
	Count int
}

// shares are counted by name.
type shares map[string]share

func (s shares) add(name string, bytes int) {
	s[name] = share{name, s[name].Sum + bytes, s[name].Count + 1}
}

// sorted returns the shares, the largest first, and their sum.
func (s shares) sorted() (list []share, total int) {
	list = slices.AppendSeq([]share{}, maps.Values(s))
	slices.SortFunc(list, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Name, b.Name))
	})
	for _, one := range list {
		total += one.Sum
	}
	return list, total
}

// inspection is what inspect finds, in the form that -format=json prints.
type inspection struct {
	Meta        archiveMeta
	Stats       []share
	StatsKV     []share // null without -kvdetails
	TotalSize   int
	TotalSizeKV int
}

// keyShares are the flags that ask for shares of key prefixes.
type keyShares struct {
	on     bool
	depth  int
	filter string
}

// name returns the prefix of the key that counts, and whether it does.
func (k *keyShares) name(key string) (string, bool) {
	if !k.on || !strings.HasPrefix(key, k.filter) {
		return "", false
	}
	parts := strings.SplitN(key, "/", k.depth+1)
	return strings.Join(parts[:min(k.depth, len(parts))], "/"), true
}

func verbInspect(set *flag.FlagSet) func(*cli.Call) int {
	keys := new(keyShares)
	set.BoolVar(&keys.on, "kvdetails", false, "Count the keys too, by prefix.")
	set.IntVar(&keys.depth, "kvdepth", 2, "How many `parts` of a key, between slashes, make a prefix of -kvdetails.")
	set.StringVar(&keys.filter, "kvfilter", "", "`Prefix` of the keys that -kvdetails counts.")
	format := set.String("format", "pretty", "Output `format`: pretty or json.")
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("Missing FILE argument")
		}
		switch {
		case c.TooMany(1):
			return 1
		case *format != "pretty" && *format != "json":
			return c.Fail("Invalid format: %s; use pretty or json", *format)
		case keys.depth < 1:
			return c.Fail("-kvdepth must be above 0, not %d", keys.depth)
		}
		found, err := inspect(c.Args[0], keys)
		if err != nil {
			return c.Fail("Error reading snapshot: %s", err)
		}
		if *format == "pretty" {
			err = found.print(c.Out)
		} else {
			var text []byte
			if text, err = json.MarshalIndent(found, "", "   "); err == nil {
				c.Say("%s", text)
			}
		}
		if err != nil {
			return c.Fail("Error rendering snapshot info: %s", err)
		}
		return 0
	}
}

func inspect(file string, keys *keyShares) (*inspection, error) {
	found := new(inspection)
	types, prefixes := shares{}, shares{}
	head := func(store.Header) error { return nil }
	var err error
	found.Meta, err = readState(file, head, func(table string, _ uint64, record []byte) error {
		types.add(typeOf(table), len(record))
		if typeOf(table) != kvType {
			return nil
		}
		key, _, err := msgp.ReadStringBytes(msgp.Locate("Key", record))
		if err != nil {
			return fmt.Errorf("a record of table %s has no key: %w", table, err)
		}
		if prefix, counts := keys.name(key); counts {
			prefixes.add(prefix, len(record))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found.Stats, found.TotalSize = types.sorted()
	if keys.on {
		found.StatsKV, found.TotalSizeKV = prefixes.sorted()
	}
	return found, nil
}

// readState reads an archive, or the state of a snapshot that a server keeps in its data directory, to its end.
func readState(file string, head func(store.Header) error, row func(string, uint64, []byte) error) (archiveMeta, error) {
	f, err := os.Open(file)
	if err != nil {
		return archiveMeta{}, err
	}
	defer f.Close()
	scan := func(r io.Reader) error { return store.Scan(r, head, row) }
	if filepath.Base(file) != stateFile {
		return readArchive(f, scan)
	}
	meta, err := metaBeside(file)
	if err != nil {
		return meta, err
	}
	return meta, scan(f)
}

// metaBeside reads the meta.json of a snapshot in a data directory. It has no ID: the directory is its name. A line with
// a checksum follows the JSON.
func metaBeside(file string) (archiveMeta, error) {
	path, err := filepath.Abs(filepath.Join(filepath.Dir(file), metaFile))
	if err != nil {
		return archiveMeta{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return archiveMeta{}, err
	}
	defer f.Close()
	meta := archiveMeta{ID: filepath.Base(filepath.Dir(path)), Version: 1}
	if err := json.NewDecoder(io.LimitReader(f, smallFile)).Decode(&meta); err != nil {
		return meta, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return meta, nil
}

// print writes the tables that people read.
func (i *inspection) print(w io.Writer) error {
	rows := [][]string{
		{" ID", i.Meta.ID}, {" Size", fmt.Sprint(i.Meta.Size)}, {" Index", fmt.Sprint(i.Meta.Index)},
		{" Term", fmt.Sprint(i.Meta.Term)}, {" Version", fmt.Sprint(i.Meta.Version)}, {""},
	}
	rows = append(rows, shareRows("Type", i.Stats, i.TotalSize)...)
	if i.StatsKV != nil {
		rows = append(rows, []string{""})
		rows = append(rows, shareRows("Key Name", i.StatsKV, i.TotalSizeKV)...)
	}
	return cli.Tabs(w, rows)
}

// shareRows is the table of shares with its header and its sum.
func shareRows(title string, list []share, total int) [][]string {
	rule := []string{" ----", "----", "----"}
	rows := [][]string{{" " + title, "Count", "Size"}, rule}
	for _, s := range list {
		rows = append(rows, []string{" " + s.Name, fmt.Sprint(s.Count), size(s.Sum)})
	}
	return append(rows, rule, []string{" Total", "", size(total)})
}

// size is a number of bytes for people: in the largest unit that leaves 1 or more, with one decimal if that is not 0.
func size(bytes int) string {
	value, unit := float64(bytes), "B"
	for _, larger := range []string{"KB", "MB", "GB", "TB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, larger
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + unit
}

func verbDecode(*flag.FlagSet) func(*cli.Call) int {
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("Missing FILE argument")
		}
		if c.TooMany(1) {
			return 1
		}
		if err := decode(c.Args[0], c.Out); err != nil {
			return c.Fail("Error reading snapshot: %s", err)
		}
		return 0
	}
}

// decode prints one JSON object for the header and one for every record. It prints them as it reads, so what it printed
// before an error may be of use to whoever looks for the damage.
func decode(file string, w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	head := func(h store.Header) error {
		return out.Encode(record{"SnapshotHeader", map[string]any{
			"LastIndex": h.Index, "Lineage": h.Lineage, "Time": h.Time, "Restored": h.Restored}})
	}
	_, err := readState(file, head, func(table string, _ uint64, raw []byte) error {
		var text strings.Builder
		if _, err := msgp.UnmarshalAsJSON(&text, raw); err != nil {
			return fmt.Errorf("cannot print a record of table %s: %w", table, err)
		}
		return out.Encode(record{typeOf(table), json.RawMessage(text.String())})
	})
	return err
}

// record is a line of snapshot decode.
type record struct {
	Type string
	Data any
}
