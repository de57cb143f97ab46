package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what processes have used: the sum of all, but for the memory that of the largest.
type usage struct {
	cpu       time.Duration // since they were started
	rss, peak float64       // MiB: now, and at most since [resetPeak]
}

// tick is the unit of times in /proc (proc(5)), which Linux has fixed for user space.
const tick = time.Second / 100

func usageOf(pids []int) (usage, error) {
	var u usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return u, err
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from field 3 on
		for _, field := range fields[11:13] {                                     // utime, stime
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return u, fmt.Errorf("reading the times of process %d: %w", pid, err)
			}
			u.cpu += time.Duration(n) * tick
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return u, err
		}
		u.rss, u.peak = max(u.rss, mebibytes(status, "VmRSS:")), max(u.peak, mebibytes(status, "VmHWM:"))
	}
	return u, nil
}

func mebibytes(status []byte, name string) float64 {
	_, rest, _ := strings.Cut(string(status), name)
	kib, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kib / 1024
}

// resetPeak makes the processes' peak of memory that of now (proc(5), clear_refs).
func resetPeak(pids []int) error {
	for _, pid := range pids {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}
