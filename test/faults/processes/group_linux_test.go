package processes

import "syscall"

// ownGroup keeps Ctrl-C from a manager, which the test stops itself, and takes the manager
// along should the test be killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
