// Package systemd tells the service manager that the program has come up (sd_notify(3)): a unit of Type=notify waits for it.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// socketVar names the service manager's socket. Children must not take it for theirs.
const socketVar = "NOTIFY_SOCKET"

// patience is how long the service manager may take a message.
const patience = time.Second

// Manager is the service manager that started this program.
type Manager struct{ socket string }

// Found returns the manager that started this program, and hides it from the programs that this one starts. ok is false
// if none did.
func Found() (m Manager, ok bool) {
	m.socket = os.Getenv(socketVar)
	_ = os.Unsetenv(socketVar)
	return m, m.socket != ""
}

// Ready says that the program is up.
func (m Manager) Ready() error {
	name := m.socket
	if rest, abstract := strings.CutPrefix(name, "@"); abstract {
		name = "\x00" + rest
	}
	c, err := net.DialTimeout("unixgram", name, patience)
	if err != nil {
		return fmt.Errorf("cannot reach the service manager at %s: %w", socketVar, err)
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("cannot tell the service manager: %w", err)
	}
	return nil
}
