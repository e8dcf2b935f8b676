package check

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/godbus/dbus/v5"
)

// The names of systemd on the system's bus.
const (
	systemd     = "org.freedesktop.systemd1"
	systemdPath = "/org/freedesktop/systemd1"
)

// newOSService returns the probe of an os_service check: it asks systemd over D-Bus for the state of a unit.
func newOSService(spec Spec, _ Env) func(context.Context) Result {
	unit := spec.Target
	if path.Ext(unit) == "" {
		unit += ".service"
	}
	return func(ctx context.Context) Result {
		ctx, cancel := spec.limited(ctx)
		defer cancel()
		load, active, sub, err := unitState(ctx, unit)
		if err != nil {
			return Result{Critical, fmt.Sprintf("cannot ask systemd for service %q: %v", spec.Target, err)}
		}
		if load == "not-found" {
			return Result{Critical, fmt.Sprintf("Service %q could not be found", spec.Target)}
		}
		status := activeStatus(active)
		if status == Passing {
			return Result{status, fmt.Sprintf("Service %q is healthy", spec.Target)}
		}
		return Result{status, fmt.Sprintf("Service %q is %s (%s)", spec.Target, active, sub)}
	}
}

// activeStatus translates the ActiveState of a unit: what is between up and down, or will be up again, is a warning.
func activeStatus(active string) Status {
	switch active {
	case "active":
		return Passing
	case "reloading", "refreshing", "activating", "deactivating", "maintenance":
		return Warning
	}
	return Critical // inactive, failed, and what later versions of systemd may name
}

// unitState returns what systemd says of a unit, on a connection of its own: one that is kept would have to be watched.
func unitState(ctx context.Context, unit string) (load, active, sub string, err error) {
	bus, err := systemBus(ctx)
	if err != nil {
		return "", "", "", err
	}
	defer bus.Close()
	var object dbus.ObjectPath
	err = bus.Object(systemd, systemdPath).CallWithContext(ctx, systemd+".Manager.LoadUnit", 0, unit).Store(&object)
	for name, into := range map[string]*string{"LoadState": &load, "ActiveState": &active, "SubState": &sub} {
		if err == nil {
			err = bus.Object(systemd, object).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0,
				systemd+".Unit", name).Store(into)
		}
	}
	return load, active, sub, err
}

// systemBus connects to the system's message bus: that of DBUS_SYSTEM_BUS_ADDRESS, or the usual socket. The connection
// ends with ctx.
func systemBus(ctx context.Context) (*dbus.Conn, error) {
	return dbus.ConnectSystemBus(dbus.WithContext(ctx))
}

// FindSystemd returns nil if systemd answers on this machine's message bus, else an error that says why os_service checks
// cannot run here. It waits no longer than ctx.
func FindSystemd(ctx context.Context) error {
	bus, err := systemBus(ctx)
	if err != nil {
		return fmt.Errorf("there is no message bus here (%w)", err)
	}
	defer bus.Close()
	owned := false
	err = bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, systemd).Store(&owned)
	if err == nil && !owned {
		err = errors.New("systemd is not on the message bus")
	}
	return err
}
