package telemetry

import (
	"errors"
	"os"
)

var errWindows = errors.New("not measured on Windows")

// kernel is not known here.
func kernel() (release, arch string, err error) { return "", "", errWindows }

// onDump does nothing: there is no such signal.
func onDump(chan<- os.Signal) {}

func readDisk(string) (*diskJSON, error) { return nil, errWindows }
