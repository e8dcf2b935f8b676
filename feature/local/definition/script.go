package definition

import (
	"os"
	"strings"

	"rostra/kit/disk"
	"rostra/kit/fault"
)

// fromFlag is how a definition's File names one that was given on the command line.
const fromFlag = "flag -"

// mayRunScript says whether a script check of this origin may run. Over HTTP it needs enable_script_checks. From a file
// it runs if enable_local_script_checks (or enable_script_checks) says so, or, with both unset, if nobody but root and
// the agent's own user can change the file or a folder on the way to it: then whoever wrote it could have run it anyway.
func (r Rules) mayRunScript(file string) error {
	if file == "" {
		if r.EnableScripts == nil || !*r.EnableScripts {
			return fault.New(fault.Refused, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true")
		}
		return nil
	}
	switch {
	case r.EnableLocalScripts != nil:
		if !*r.EnableLocalScripts {
			return fault.New(fault.Refused, "scripts in configuration files are disabled, because 'enable_local_script_checks' is false; set it to true to run this one")
		}
		return nil
	case r.EnableScripts != nil:
		if !*r.EnableScripts {
			return fault.New(fault.Refused, "scripts are disabled, because 'enable_script_checks' is false; set it or 'enable_local_script_checks' to true to run this one")
		}
		return nil
	case strings.HasPrefix(file, fromFlag):
		return nil // who starts the agent can run the script
	}
	if bad := disk.ChangeableByOthers(file, os.Geteuid()); bad != "" {
		return fault.New(fault.Refused, "this script is not run, because others than root and the agent's user can change %s; take their rights to it away, or set 'enable_local_script_checks' to true", bad)
	}
	return nil
}
