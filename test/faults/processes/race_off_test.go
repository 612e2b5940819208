//go:build !race

package processes

// raceDetector says how to build the managers: like this test.
const raceDetector = false
