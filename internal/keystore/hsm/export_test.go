package hsm

// Worker returns the process id of the worker and a channel that is closed when it is gone; 0 if there is none.
func (k *Keystore) Worker() (pid int, gone <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.worker == nil {
		return 0, nil
	}
	return k.worker.cmd.Process.Pid, k.worker.ended
}

// Waiting is how many calls have no answer yet.
func (k *Keystore) Waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.worker.mu.Lock()
	defer k.worker.mu.Unlock()
	return len(k.worker.waiting)
}
