package ui

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pages(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPages(t *testing.T) {
	dir := pages(t, map[string]string{"site/index.html": "<html>start", "site/a/app.js": "let x", "secret": "no"})
	s := New(&Settings{Dir: dir + "/site", ContentPath: "tools"})
	if s.Path() != "/tools/" || !s.Serves() {
		t.Fatalf("%s %v", s.Path(), s.Serves())
	}
	get := func(method, path string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/", nil)
		r.URL.Path = path
		s.ServeHTTP(w, r)
		return w
	}
	for path, want := range map[string]string{"/tools/": "<html>start", "/tools/a/app.js": "let x", "/tools/dc1/services": "<html>start",
		"/tools/a": "<html>start", "/tools/a/": "<html>start", "/tools/../secret": "<html>start", "/tools/%2e%2e/secret": "<html>start"} {
		if w := get("GET", path); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	if got := get("GET", "/tools/a/app.js").Header().Get("Content-Type"); !strings.HasPrefix(got, "text/javascript") {
		t.Errorf("type %q", got)
	}
	if w := get("PUT", "/tools/"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", w.Code)
	}
	s.Reload(&Settings{Dir: pages(t, map[string]string{"index.html": "other"})})
	if w := get("GET", "/tools/"); w.Body.String() != "other" {
		t.Errorf("after a reload: %q", w.Body)
	}
	s.Reload(&Settings{})
	if w := get("GET", "/tools/"); w.Code != 404 || s.Serves() {
		t.Errorf("without pages: %d", w.Code)
	}
}

func TestCheck(t *testing.T) {
	dir := pages(t, map[string]string{"index.html": "x"})
	for _, c := range []struct {
		s    Settings
		want string
	}{
		{Settings{ContentPath: "/ui/"}, ""}, {Settings{ContentPath: "a/b-c_D", Dir: dir}, ""}, {Settings{Enabled: true}, ""},
		{Settings{Enabled: true, Dir: dir}, "ui_config.dir: both"},
		{Settings{ContentPath: "/v1/"}, "ui_config.content_path: "}, {Settings{ContentPath: "/a b/"}, "ui_config.content_path: "},
		{Settings{ContentPath: "/../"}, "ui_config.content_path: "}, {Settings{Dir: t.TempDir()}, "ui_config.dir: "},
	} {
		err := c.s.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.s, err)
		}
	}
}
