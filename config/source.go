package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"rostra/kit/tree"
)

// source is one text of settings: a file, or a flag.
type source struct {
	file string
	flag string // without dashes; set instead of file
}

// name is how the source is called where no line is known.
func (s source) name() string {
	if s.flag != "" {
		return "flag -" + s.flag
	}
	return s.file
}

// at names a place in the source. Fragments of flags are short: their lines are not counted.
func (s source) at(line int) string {
	if s.flag != "" || line <= 0 {
		return s.name()
	}
	return fmt.Sprintf("%s:%d", s.file, line)
}

// path reads a file, or the files of a directory in the order of their names.
func (l *loader) path(path, format string) {
	info, err := os.Stat(path)
	if err != nil {
		l.note("", cannotRead(path, err))
		return
	}
	if !info.IsDir() {
		parse := tree.ReaderOf(path, format)
		if parse == nil {
			l.note("", fmt.Errorf("file %s has unknown extension; must be .hcl or .json, or config format must be set", path))
			return
		}
		l.file(path, parse)
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		l.note("", cannotRead(path, err))
	}
	for _, e := range entries {
		sub := filepath.Join(path, e.Name())
		info, err := os.Stat(sub) // follows links
		if err != nil {
			l.note("", cannotRead(sub, err))
			continue
		}
		if info.IsDir() {
			continue
		}
		parse := tree.ReaderOf(sub, format)
		if parse == nil {
			l.warn(source{file: sub}, 0, "skipped: its name ends in neither .hcl nor .json; use -config-format to read it all the same")
			continue
		}
		l.file(sub, parse)
	}
}

func cannotRead(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("cannot read configuration %s: %w: check the path and its permissions", path, err)
}

func (l *loader) file(path string, parse tree.Reader) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.note("", cannotRead(path, err))
		return
	}
	l.out.Sources = append(l.out.Sources, path)
	l.text(source{file: path}, data, parse)
}

// text reads one source. Empty ones are skipped.
func (l *loader) text(src source, data []byte, parse tree.Reader) {
	data = tree.Trim(data)
	if len(bytes.TrimSpace(data)) == 0 {
		return
	}
	root, err := parse(data)
	if err != nil {
		var syn *tree.SyntaxError
		if errors.As(err, &syn) {
			err = fmt.Errorf("%s: %w", src.at(syn.Line), err)
		} else {
			err = fmt.Errorf("%s: %w", src.name(), err)
		}
		l.note("", err)
		return
	}
	w := &walk{loader: l, src: src, seen: map[string]bool{}}
	w.root(root)
}
