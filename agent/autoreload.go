package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
)

// lookTime is how often files are looked at with auto_reload_config. Looking needs no help of the system's, works on every
// file system and through every link, and costs some microseconds for each file.
const lookTime = time.Second

// autoReload reloads when the files that the configuration comes from, or certificates and keys that it names, have changed
// and then been the same for one more look: who writes them has finished. It returns when ctx ends.
func (a *Agent) autoReload(ctx context.Context) error {
	tick := time.NewTicker(lookTime)
	defer tick.Stop()
	last := a.fingerprint()
	before := last
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := a.fingerprint()
		if now != last && now == before {
			if err := a.reload(notUnasked); err != nil {
				a.log.Error("cannot reload the files that changed: the old configuration stays", "error", oneLine(err))
			} else {
				a.log.Info("configuration reloaded: files have changed")
			}
			now = a.fingerprint() // it may name other certificates now
			last = now
		}
		before = now
	}
}

// notUnasked refuses changes of what protects and whom to trust: those take effect when somebody asks for it.
func notUnasked(changed []string) error {
	for _, key := range changed {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if strings.HasPrefix(last, "encrypt_verify_") || strings.HasPrefix(last, "verify_") || last == "ca_file" || last == "ca_path" {
			return fmt.Errorf("%s has changed, which auto_reload_config does not take over: use `rostra reload` or a restart", key)
		}
	}
	return nil
}

// fingerprint says which files there are, how long, and how old.
func (a *Agent) fingerprint() string {
	a.mu.Lock()
	var files []string
	for _, group := range a.now.all() {
		files = append(files, keyFiles(reflect.ValueOf(group).Elem())...)
	}
	a.mu.Unlock()
	all := slices.ContainsFunc(a.loaded.Sources, func(s string) bool { return !configName(s) })
	for _, path := range a.loaded.Paths {
		entries, err := os.ReadDir(path)
		if err != nil { // a file, or gone
			files = append(files, path)
		}
		for _, e := range entries {
			if all || configName(e.Name()) {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	var b strings.Builder
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintf(&b, "%s gone\n", name)
			continue
		}
		fmt.Fprintf(&b, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// configName says whether a file in a directory is read without -config-format.
func configName(name string) bool {
	return strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".json")
}

// keyFiles lists the certificates and keys that settings name.
func keyFiles(group reflect.Value) (files []string) {
	for i := range group.NumField() {
		key, field := group.Type().Field(i).Tag.Get("key"), group.Field(i)
		switch {
		case key == "" && field.Kind() == reflect.Struct:
			files = append(files, keyFiles(field)...)
		case field.Kind() == reflect.String && field.String() != "" && (strings.HasSuffix(key, ".cert_file") || strings.HasSuffix(key, ".key_file")):
			files = append(files, field.String())
		}
	}
	return files
}
