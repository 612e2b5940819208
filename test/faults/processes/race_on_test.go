//go:build race

package processes

// raceDetector: the managers are built as this test is.
const raceDetector = true
