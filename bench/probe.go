package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// fsyncProbe measures what the disk of the data directories can do.
func fsyncProbe(c *Ctx) error {
	if c.want("fsync") {
		for _, v := range []struct {
			name  string
			size  int
			alloc bool
			every int
		}{{"fsync-append-200B", 200, false, 1}, {"fsync-append-4K", 4096, false, 1}, {"fsync-prealloc-4K", 4096, true, 1}} {
			f := filepath.Join(c.work, "fsync.probe")
			fh, err := os.OpenFile(f, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			if v.alloc {
				z := make([]byte, 1<<20)
				for i := 0; i < 64; i++ {
					fh.Write(z)
				}
				fh.Sync()
				fh.Seek(0, 0)
			}
			buf := make([]byte, v.size)
			rand.Read(buf)
			r := closedLoop(1, c.dur, 0, func(int) (func(int64) error, func(), error) {
				off := int64(0)
				return func(i int64) error {
					if v.alloc && off+int64(v.size) > 64<<20 {
						off = 0
					}
					if _, err := fh.WriteAt(buf, off); err != nil {
						return err
					}
					off += int64(v.size)
					return syscall.Fdatasync(int(fh.Fd()))
				}, nil, nil
			})
			fh.Close()
			os.Remove(f)
			c.rec.loop(v.name, r, 0, 1, "one thread, write + fdatasync on the disk of the data directories")
		}
	}
	return nil
}

// runProbe measures all ceilings that need no server.
func runProbe(c *Ctx) error {
	if err := fsyncProbe(c); err != nil {
		return err
	}
	if c.want("http-ceiling") {
		saved := c.sel
		c.sel = nil
		for _, n := range []int{1, 64, 256} {
			c.httpCeiling(fmt.Sprintf("http-ceiling-put-%d", n), n, "PUT", nil, false)
		}
		answer := bytes.Repeat([]byte("0123456789abcdef"), 62500)
		c.httpCeiling("http-ceiling-get-64", 64, "GET", answer[:250], false)
		c.httpCeiling("http-ceiling-50k-64", 64, "GET", answer[:50000], false)
		c.httpCeiling("http-ceiling-50k-gzip-64", 64, "GET", answer[:50000], true)
		c.httpCeiling("http-ceiling-1M-64", 64, "GET", answer, false)
		c.sel = saved
	}
	if c.want("udp-ceiling") {
		saved := c.sel
		c.sel = nil
		c.udpCeiling("udp-ceiling-85", dnsQuery("web3.service.consul", 1, 0), 85)
		c.udpCeiling("udp-ceiling-849", dnsQuery("web50.service.consul", 1, 4096), 849)
		c.sel = saved
	}
	return nil
}
