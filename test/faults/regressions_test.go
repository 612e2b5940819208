package faults

import "testing"

// regressions are plays in which the operator once went wrong.
var regressions = []struct {
	name     string
	scenario string
	faults   []armedFault // none: the scenario itself
	was      string
}{
	{
		name: "a-view-read-before-a-late-post", scenario: "create-changed-in-doubt",
		faults: []armedFault{{call: callID{kongCreatePlugin, 1}, fault: faultNamed("crash-late", kongCreatePlugin)}},
		was: "The first reading of a new process, begun before the POST of the one before it had landed, was taken for proof that " +
			"nothing bears the binding's marks: a second plugin was made on the scope to which the binding had moved.",
	},
	{
		name: "a-view-read-before-the-binding-of-that-name-wrote", scenario: "create-recreated-in-doubt",
		was: "What was written for a binding was remembered by its UID. For another object of its name an older reading was taken " +
			"for proof that nothing bears its marks: a second plugin was made beside the first.",
	},
	{
		name: "a-list-without-the-row-that-its-name-would-have-shown", scenario: "create-recreated-in-doubt",
		faults: []armedFault{{call: callID{kongList, 3}, fault: faultNamed("short", kongList)}},
		was: "A binding that was given another instance name was asked for by that name and by its tags only. A list of the tags " +
			"that lacked the row, well-formed for all that, had a second plugin made beside the first.",
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

// TestRegressions plays what once went wrong.
func TestRegressions(t *testing.T) {
	for _, r := range regressions {
		t.Run(r.name, func(t *testing.T) {
			s := scenarioNamed(r.scenario)
			clean := s.runBaseline(t)
			o := s.run(r.faults...)
			o.compareWith(clean)
			if len(o.violations) > 0 {
				t.Log("it is as it was once: " + r.was)
			}
			o.fail(t)
		})
	}
}
