package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// disks runs a test on every implementation of FS.
func disks(t *testing.T, test func(t *testing.T, fs FS, root string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("forgetful", func(t *testing.T) { test(t, NewForgetful(), "/") })
}

func TestFSKeepsItsContract(t *testing.T) {
	disks(t, func(t *testing.T, fs FS, root string) {
		dir := filepath.Join(root, "a", "b")
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			t.Fatalf("a second MkdirAll: %v", err)
		}
		name := filepath.Join(dir, "f")
		if _, err := fs.OpenFile(name, os.O_RDONLY, 0); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("missing file: %v", err)
		}
		f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, os.ErrExist) {
			t.Fatalf("existing file: %v", err)
		}
		exercise(t, f)
		if err := fs.Rename(name, name+"2"); err != nil {
			t.Fatal(err)
		}
		if err := fs.Remove(filepath.Join(root, "a")); err == nil {
			t.Fatal("a full directory was removed")
		}
		if err := WriteFile(fs, filepath.Join(dir, "w"), []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(fs, filepath.Join(dir, "w"), []byte("two!"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(fs, filepath.Join(dir, "w")); err != nil || string(got) != "two!" {
			t.Fatalf("ReadFile = %q, %v", got, err)
		}
		if names, err := fs.List(dir); err != nil || strings.Join(names, " ") != "f2 w" {
			t.Fatalf("List = %q, %v", names, err)
		}
		if err := RemoveTree(fs, filepath.Join(root, "a")); err != nil {
			t.Fatal(err)
		}
		if names, err := fs.List(root); err != nil || len(names) != 0 {
			t.Fatalf("after RemoveTree: %q, %v", names, err)
		}
		if err := RemoveTree(fs, filepath.Join(root, "a")); err != nil {
			t.Fatalf("RemoveTree of nothing: %v", err)
		}
	})
}

func exercise(t *testing.T, f File) {
	t.Helper()
	big := bytes.Repeat([]byte("0123456789"), 1000)
	if _, err := f.WriteAt(big, 5000); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); err != nil || size != 15000 {
		t.Fatalf("Size = %d, %v", size, err)
	}
	got := make([]byte, 20000)
	n, err := f.ReadAt(got, 0)
	if n != 15000 || err == nil || !bytes.Equal(got[:5000], make([]byte, 5000)) || !bytes.Equal(got[5000:15000], big) {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	if err := f.Truncate(6000); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(9000); err != nil {
		t.Fatal(err)
	}
	n, _ = f.ReadAt(got, 0)
	if n != 9000 || !bytes.Equal(got[5000:6000], big[:1000]) || !bytes.Equal(got[6000:9000], make([]byte, 3000)) {
		t.Fatalf("after Truncate ReadAt = %d", n)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Fatal("a closed file was written")
	}
}

// TestWriteFileSurvivesACutAtEveryStep: the old file or the new one, and the new one once WriteFile has returned.
func TestWriteFileSurvivesACutAtEveryStep(t *testing.T) {
	for _, torn := range []bool{false, true} {
		for n := 0; ; n++ {
			d := prepared(t)
			d.CutAfter(n)
			err := WriteFile(d, "/d/f", []byte("new and longer"), 0o600)
			after := cut(d, torn, n)
			got, readErr := ReadFile(after, "/d/f")
			if readErr != nil || string(got) != "old" && string(got) != "new and longer" {
				t.Fatalf("cut after %d (torn %v): %q, %v", n, torn, got, readErr)
			}
			if err == nil {
				if string(got) != "new and longer" {
					t.Fatalf("acknowledged, but found %q", got)
				}
				break
			}
			if !errors.Is(err, ErrPowerLost) {
				t.Fatal(err)
			}
			if err := WriteFile(after, "/d/f", []byte("again"), 0o600); err != nil {
				t.Fatalf("after the cut at %d: %v", n, err)
			}
		}
	}
}

// TestALieIsCaught drops each sync of WriteFile in turn: the acknowledged bytes must then be missing.
func TestALieIsCaught(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		d := prepared(t)
		d.Lie(func(op Op) bool { return op.Kind == kind })
		if err := WriteFile(d, "/d/f", []byte("new"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := ReadFile(d.PowerCut(), "/d/f"); string(got) == "new" {
			t.Errorf("without %s nothing was lost", kind)
		}
	}
}

func TestForgetsWhatWasNotSynced(t *testing.T) {
	d := prepared(t)
	f, err := d.OpenFile("/d/f", os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(" and more")); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename("/d/f", "/d/g"); err != nil {
		t.Fatal(err)
	}
	after := d.PowerCut()
	if got, err := ReadFile(after, "/d/f"); err != nil || string(got) != "old" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, ErrPowerLost) {
		t.Fatalf("writing without power: %v", err)
	}
	if _, err := ReadFile(d, "/d/g"); !errors.Is(err, ErrPowerLost) {
		t.Fatalf("reading without power: %v", err)
	}
}

func prepared(t *testing.T) *Forgetful {
	t.Helper()
	d := NewForgetful()
	if err := d.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(d, "/d/f", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func cut(d *Forgetful, torn bool, seed int) *Forgetful {
	if !torn {
		return d.PowerCut()
	}
	return d.PowerCutTorn(rand.New(rand.NewPCG(1, uint64(seed))).IntN)
}

func TestLockIsHeldByOneProcess(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("DISK_TEST_LOCK") != "" {
		_, err := Lock(os.Getenv("DISK_TEST_LOCK"))
		fmt.Println("other process:", err)
		return
	}
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a second lock: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockIsHeldByOneProcess$", "-test.v")
	cmd.Env = append(os.Environ(), "DISK_TEST_LOCK="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "another agent is using it") {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}

// TestAnAilingDisk: what a failed sync should have kept is not kept by the next one, unless it is written again.
func TestAnAilingDisk(t *testing.T) {
	d := prepared(t)
	f, err := d.OpenFile("/d/f", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	d.Ail(func(op Op) error {
		if op.Kind == "sync" {
			return broken
		}
		return nil
	})
	if _, err := f.WriteAt([]byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, broken) {
		t.Fatalf("a failing sync: %v", err)
	}
	if err := WriteFile(d, "/d/f", []byte("more"), 0o600); !errors.Is(err, broken) {
		t.Fatalf("WriteFile: %v", err)
	}
	d.Ail(nil)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(d, "/d/f"); string(got) != "new" || err != nil {
		t.Errorf("the program sees %q, %v", got, err)
	}
	if got, _ := ReadFile(d.PowerCut(), "/d/f"); string(got) != "old" {
		t.Errorf("after the cut there is %q", got)
	}
}
