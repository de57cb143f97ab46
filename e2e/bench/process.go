package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/store/postgrestest"
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
		fields, err := statOf(pid)
		if err != nil {
			return u, err
		}
		for _, field := range fields[11:13] { // utime, stime
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

// statOf are the fields of a process's stat from the third on: what comes before may have blanks in it.
func statOf(pid int) ([]string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])), err
}

// childrenOf lists the processes that these have started.
func childrenOf(parents []int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		fields, err := statOf(pid)
		if err != nil {
			continue // it has ended since
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil && slices.Contains(parents, parent) {
			children = append(children, pid)
		}
	}
	return children, nil
}

// postmasterOf is the first process of a cluster, which starts one for each connection.
func postmasterOf(c *postgrestest.Cluster) (int, error) {
	text, err := os.ReadFile(filepath.Join(c.Dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(first)
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
