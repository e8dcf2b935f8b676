package check

import "fmt"

// Aliased is a check that an alias check looks at.
type Aliased struct {
	Name string
	Result
}

// Worst judges for an alias check: it is as healthy as the worst of the checks, and names that; of several the first.
func Worst(checks []Aliased) Result {
	if len(checks) == 0 {
		return Result{Passing, "No checks found."}
	}
	worst := Aliased{Result: Result{Status: Passing}}
	for _, c := range checks {
		if c.Status == Critical && worst.Status != Critical || c.Status == Warning && worst.Status == Passing {
			worst = c
		}
	}
	if worst.Status == Passing {
		return Result{Passing, "All checks passing."}
	}
	return Result{worst.Status, fmt.Sprintf("Aliased check %q failing: %s", worst.Name, worst.Output)}
}
