package faults

import "testing"

// regressions lists runs in which the operator once failed.
var regressions = []struct {
	name     string
	scenario string
	faults   []armedFault // none: the scenario itself is the regression
	was      string
}{
	{
		name: "a-view-read-before-a-late-post", scenario: "create-changed-in-doubt",
		faults: []armedFault{{call: callID{kongCreatePlugin, 1}, fault: faultNamed("crash-late", kongCreatePlugin)}},
		was: "A new process began its first resync before Kong applied a POST of the former process. The operator took that " +
			"snapshot as proof that no plugin carries the binding's ownership tags, and created a second plugin on the new scope.",
	},
	{
		name: "a-view-read-before-the-binding-of-that-name-wrote", scenario: "create-recreated-in-doubt",
		was: "The operator remembered writes by the UID of their binding. For another object of that name it took an older snapshot " +
			"as proof that no plugin carries the ownership tags, and created a second plugin.",
	},
	{
		name: "a-list-without-the-row-that-its-name-would-have-shown", scenario: "create-recreated-in-doubt",
		faults: []armedFault{{call: callID{kongList, 3}, fault: faultNamed("short", kongList)}},
		was: "The operator looked up a binding with a new instance name by that name and by its tags only. When a well-formed list " +
			"by tags lacked the row, the operator created a second plugin.",
	},
	{
		name: "a-status-that-stays-ready-without-a-plugin", scenario: "replace",
		faults: []armedFault{{call: callID{kongPutPlugin, 1}, fault: faultNamed("409", kongPutPlugin)}},
		was: "Kong refused the PUT after the DELETE of a replacement. The operator wrote the time of the DELETE into the status, and left " +
			"the condition Ready as it was.",
	},
}

func faultNamed(name, call string) *fault {
	for _, f := range allFaults {
		if f.name == name && f.applies(callID{name: call}) {
			return f
		}
	}
	panic("faults: there is no " + name + " of " + call)
}

func scenarioNamed(name string) scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	panic("faults: there is no scenario " + name)
}

// TestRegressions repeats the runs in which the operator once failed.
func TestRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(r.name, func(t *testing.T) {
			s := scenarioNamed(r.scenario)
			clean := s.runBaseline(t)
			o := s.run(r.faults...)
			o.compareWith(clean)
			if len(o.violations) > 0 {
				t.Log("it fails as it once did: " + r.was)
			}
			o.fail(t)
		})
	}
}
