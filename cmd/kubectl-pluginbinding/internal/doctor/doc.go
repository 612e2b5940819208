// Package doctor says what is wrong with the operator, its objects and the Kongs behind them, and what
// to do about it. The core is pure: facts in, findings out. Only command.go and gather.go ask anybody,
// and nothing here writes anything.
//
// What could not be looked at is a finding, too.
package doctor
