// Package ui serves the web pages of an agent below ui_config.content_path: those of a directory that the operator names.
// Pages of its own come with a later version.
package ui

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
)

// Settings are what an operator may choose about web pages.
type Settings struct {
	Enabled     bool   `key:"ui_config.enabled" flag:"ui" reload:"yes" help:"serve the agent's own web pages; this version has none yet and says so, see ui_config.dir"`
	Dir         string `key:"ui_config.dir" flag:"ui-dir" reload:"yes" help:"directory of web pages to serve below ui_config.content_path: its index.html answers every path that is no file"`
	ContentPath string `key:"ui_config.content_path" flag:"ui-content-path" default:"/ui/" help:"path below which web pages are served"`
}

var (
	pathForm = regexp.MustCompile(`^/([A-Za-z0-9_-]+/)+$`)
	apiForm  = regexp.MustCompile(`^/v[0-9]+/`)
)

// Check refuses what cannot be served. The errors begin with the key.
func (s *Settings) Check() error {
	var all []error
	if s.Enabled && s.Dir != "" {
		all = append(all, errors.New("ui_config.dir: both ui_config.enabled and ui_config.dir are set: keep dir to serve its pages"))
	}
	switch p := s.path(); {
	case !pathForm.MatchString(p):
		all = append(all, fmt.Errorf("ui_config.content_path: %q may only hold letters, digits, -, _ and /; write one like /ui/", s.ContentPath))
	case apiForm.MatchString(p):
		all = append(all, fmt.Errorf("ui_config.content_path: %q is where the API is; choose another one", s.ContentPath))
	}
	if s.Dir != "" {
		if info, err := os.Stat(filepath.Join(s.Dir, "index.html")); err != nil || info.IsDir() {
			all = append(all, fmt.Errorf("ui_config.dir: %s holds no index.html that can be read: name the directory of the pages", s.Dir))
		}
	}
	return errors.Join(all...)
}

// path is the content path with a slash at both ends.
func (s *Settings) path() string {
	p := "/" + strings.Trim(s.ContentPath, "/") + "/"
	if p == "//" {
		return "/ui/"
	}
	return p
}

// Site serves the pages. Safe for concurrent use.
type Site struct {
	at  string
	dir atomic.Pointer[string] // "" for none
}

// New returns the site that the settings describe.
func New(s *Settings) *Site {
	site := &Site{at: s.path()}
	site.Reload(s)
	return site
}

// Reload takes other settings over; the path stays.
func (s *Site) Reload(to *Settings) { s.dir.Store(&to.Dir) }

// Path is where the pages are, with a slash at both ends.
func (s *Site) Path() string { return s.at }

// Serves reports whether there are pages.
func (s *Site) Serves() bool { return *s.dir.Load() != "" }

// ServeHTTP answers with the file of that name, or with index.html, which finds by itself what such a path means.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dir := http.Dir(*s.dir.Load())
	if dir == "" {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method "+r.Method+" not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := path.Clean("/" + strings.TrimPrefix(r.URL.Path, s.at))
	for _, name := range []string{name, "/index.html"} {
		if send(w, r, dir, name) {
			return
		}
	}
	http.Error(w, "the directory of ui_config.dir holds no index.html that can be read", http.StatusInternalServerError)
}

// send answers with a file if it is one.
func send(w http.ResponseWriter, r *http.Request, dir http.Dir, name string) bool {
	f, err := dir.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return false
	}
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
	return true
}
