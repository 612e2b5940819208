package processes

import "syscall"

// ownGroup keeps Ctrl-C from a manager, because the test stops it itself. A killed test takes
// the manager along.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
