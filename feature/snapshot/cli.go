package snapshot

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/consul/api"

	"rostra/kit/cli"
)

// Verbs returns the commands that save and restore the state of the servers.
func Verbs() []cli.Verb {
	return []cli.Verb{
		{Path: "snapshot", Summary: "Saves and restores the state of the servers", Help: `
Saves the whole state of the servers to a file, looks into it, and puts it back:

    $ {name} snapshot save backup.snap
    $ {name} snapshot inspect backup.snap
    $ {name} snapshot restore backup.snap`},
		{Path: "snapshot save", Summary: "Saves the state to a file", Usage: "[options] FILE", Flags: verbSave, Help: `
Writes the state of the servers to FILE and checks that what was written is
whole. Until then the data is in FILE.unverified. The file holds everything,
secrets too: only you can read it.

    $ {name} snapshot save backup.snap`},
		{Path: "snapshot restore", Summary: "Restores the state from a file", Usage: "[options] FILE", Flags: verbRestore, Help: `
Replaces the whole state of the servers by the one saved in FILE. Meant for
disasters and new clusters: what was written since the file was saved is lost.

    $ {name} snapshot restore backup.snap`},
		{Path: "snapshot inspect", Summary: "Shows what a saved state holds", Usage: "[options] FILE", Flags: verbInspect, Help: `
Checks a file that was saved and counts what is in it, by type and size. No agent
is asked. FILE may also be the state.bin of a snapshot in a data directory.

    $ {name} snapshot inspect backup.snap
    $ {name} snapshot inspect -kvdetails -kvdepth=3 backup.snap`},
		{Path: "snapshot decode", Summary: "Prints a saved state as JSON", Usage: "[options] FILE", Flags: verbDecode, Help: `
Prints every record of a file that was saved, one JSON object on a line: first
the header, then {"Type", "Data"}. Types have Consul's names where it has the
like, the data is as this program keeps it. Secrets are shown as they are.

    $ {name} snapshot decode backup.snap | jq 'select(.Type=="KVS").Data.Key'`},
	}
}

func verbSave(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	extra := set.String("append-filename", "", "Comma separated `words` of version, dc to insert before FILE's extension.")
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("Missing FILE argument")
		}
		if c.TooMany(1) {
			return 1
		}
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		file, err := appendWords(c.Args[0], *extra, agent)
		if err != nil {
			return c.Fail("Error naming the snapshot: %s", err)
		}
		body, meta, err := agent.Snapshot().Save(client.Query())
		if err != nil {
			return c.Fail("Error saving snapshot: %s", err)
		}
		defer body.Close()
		index, err := saveArchive(file, body)
		if err != nil {
			return c.Fail("Error saving snapshot: %s", err)
		}
		if meta.LastIndex != 0 {
			index = meta.LastIndex
		}
		c.Say("Saved and verified snapshot to index %d", index)
		return 0
	}
}

// appendWords inserts "-<version>-<dc>", as asked for, before the extension of a file name.
func appendWords(file, words string, agent *api.Client) (string, error) {
	if words == "" {
		return file, nil
	}
	self, err := agent.Agent().Self()
	if err != nil {
		return "", err
	}
	suffix := ""
	for word := range strings.SplitSeq(words, ",") {
		key, ok := map[string]string{"version": "Version", "dc": "Datacenter"}[strings.TrimSpace(word)]
		if !ok {
			return "", fmt.Errorf("unknown word %q in -append-filename: want version or dc", word)
		}
		value, ok := self["Config"][key].(string)
		if !ok || value == "" || strings.ContainsRune(value, filepath.Separator) {
			return "", fmt.Errorf("the agent does not tell its %s", word)
		}
		suffix += "-" + value
	}
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + suffix + ext, nil
}

// saveArchive writes an archive beside file, verifies what is on disk, and only then gives it its name. It returns the
// index of the archive. What cannot be verified stays in <file>.unverified, for whoever looks into it.
func saveArchive(file string, from io.Reader) (uint64, error) {
	unverified := file + ".unverified"
	f, err := os.OpenFile(unverified, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// An older file of that name may have been readable by others.
	if err := f.Chmod(0o600); err != nil {
		return 0, err
	}
	if _, err := io.Copy(f, from); err != nil {
		return 0, fmt.Errorf("cannot read the whole snapshot into %s: %w", unverified, err)
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	meta, err := readArchive(f, func(io.Reader) error { return nil })
	if err != nil {
		return 0, fmt.Errorf("cannot verify %s: %w", unverified, err)
	}
	if err := os.Rename(unverified, file); err != nil {
		return 0, err
	}
	return meta.Index, syncDir(filepath.Dir(file))
}

// syncDir makes a rename inside a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func verbRestore(set *flag.FlagSet) func(*cli.Call) int {
	client := cli.ServerFlags(set)
	return func(c *cli.Call) int {
		if len(c.Args) == 0 {
			return c.Fail("Missing FILE argument")
		}
		if c.TooMany(1) {
			return 1
		}
		f, err := os.Open(c.Args[0])
		if err != nil {
			return c.Fail("Error opening snapshot file: %s", err)
		}
		defer f.Close()
		agent, err := client.Open(c)
		if err != nil {
			return c.Fail("Error connecting to Consul agent: %s", err)
		}
		if err := agent.Snapshot().Restore(nil, f); err != nil {
			return c.Fail("Error restoring snapshot: %s", err)
		}
		c.Say("Restored snapshot")
		return 0
	}
}
