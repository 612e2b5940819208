//go:build !linux

package processes

import "syscall"

// ownGroup keeps Ctrl-C from a manager, because the test stops it itself.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
