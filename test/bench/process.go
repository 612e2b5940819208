package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// usage is what a process has used. Without /proc it is unknown while the process runs.
type usage struct {
	cpu  float64 // seconds
	peak float64 // MiB of resident memory
}

// clockTicks per second: 100 on every Linux that Go runs on.
const clockTicks = 100

// usageOf returns what a process has used so far.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) && runtime.GOOS != "linux" {
		return usage{}, nil
	}
	if err != nil {
		return usage{}, err
	}
	// The name of the command, in parentheses, may contain blanks.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const utime, stime = 11, 12
	var u usage
	for _, i := range []int{utime, stime} {
		ticks, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return usage{}, err
		}
		u.cpu += ticks / clockTicks
	}
	u.peak, err = statusMiB(pid, "VmHWM:")
	return u, err
}

// statusMiB reads one of the sizes in /proc/<pid>/status.
func statusMiB(pid int, name string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, name); found {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, name)
}

// childrenNamed returns the child processes with that name. envtest does not say which
// processes the API server and etcd are.
func childrenNamed(name string) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // no error: the pattern is good
	var pids []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		var pid, parent int
		head, tail, _ := strings.Cut(string(text), ") ")
		_, err1 := fmt.Sscanf(head, "%d", &pid)
		_, err2 := fmt.Sscanf(tail, "%1s %d", new(string), &parent)
		// Linux keeps the first 15 characters.
		if err1 == nil && err2 == nil && parent == os.Getpid() && strings.HasSuffix(head, "("+name[:min(len(name), 15)]) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpuOf returns the CPU time of processes so far, in seconds, or 0 if unknown.
func cpuOf(pids []int) float64 {
	sum := 0.0
	for _, pid := range pids {
		if u, err := usageOf(pid); err == nil {
			sum += u.cpu
		}
	}
	return sum
}

// machineCPU returns the CPU time of the whole machine so far, in seconds, or 0 if unknown.
func machineCPU() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	// cpu, user, nice, system, idle, iowait, irq, softirq. The fields after these are included
	// in them.
	fields := strings.Fields(line)
	sum := 0.0
	for _, i := range []int{1, 2, 3, 6, 7} {
		if i < len(fields) {
			ticks, _ := strconv.ParseFloat(fields[i], 64) // the kernel writes a number
			sum += ticks / clockTicks
		}
	}
	return sum
}

// finalCPU returns the CPU time of a process that has ended, in seconds. The kernel's peak
// memory of such a process is useless: it includes that of the bench, of which the process was
// a copy before it executed another program.
func finalCPU(cmd *exec.Cmd) float64 {
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}
