//go:build !linux

package processes

import "syscall"

// ownGroup keeps Ctrl-C from a manager, which the test stops itself.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
