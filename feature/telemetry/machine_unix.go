//go:build unix

package telemetry

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel returns the running kernel's release and architecture.
func kernel() (release, arch string, err error) {
	var names unix.Utsname
	err = unix.Uname(&names)
	return unix.ByteSliceToString(names.Release[:]), unix.ByteSliceToString(names.Machine[:]), err
}

// onDump makes the signal that asks for a dump arrive at c.
func onDump(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

func readDisk(path string) (*diskJSON, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return nil, fmt.Errorf("cannot measure the file system of %s: %w", path, err)
	}
	block := uint64(s.Bsize)
	d := &diskJSON{Path: path, Total: s.Blocks * block, Free: s.Bavail * block, Used: (s.Blocks - s.Bfree) * block,
		InodesTotal: s.Files, InodesFree: s.Ffree, InodesUsed: s.Files - s.Ffree}
	d.UsedPercent, d.InodesUsedPercent = percent(d.Used, d.Used+d.Free), percent(d.InodesUsed, d.InodesTotal)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return d, err
	}
	d.FSType = fsType(mounts, path)
	return d, nil
}
