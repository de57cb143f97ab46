package hsm

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/keystore"
)

// process is one worker process and the calls that it has not answered.
type process struct {
	cmd    *exec.Cmd
	socket *os.File
	sender *Sender
	log    *slog.Logger

	mu      sync.Mutex
	last    uint64 // id of the newest request
	waiting map[uint64]*waiting
	over    error         // why it is of no more use; nil while it is
	retired error         // why nothing new is asked of it, and it ends when nothing is waiting; nil while it may be asked
	served  bool          // it has fulfilled a request
	ended   chan struct{} // closed once the process is gone
	tick    time.Duration // of the watch over the bounds
}

// waiting is one call without an answer.
type waiting struct {
	answer chan Answer // one place; closed if there will be none
	late   *hung       // what to say when the bound is exceeded
	left   int         // ticks until it is
	done   func()      // called once it has its answer, or will have none
}

// start starts a worker, which then waits to be told what to open.
func start(o Options) (*process, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // no other child inherits the server's end
	if err != nil {
		return nil, fmt.Errorf("making a socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "worker's end")
	defer theirs.Close()
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return nil, errors.Join(fmt.Errorf("making a socketpair: %w", err), unix.Close(ends[0]))
	}
	p := &process{
		cmd: exec.Command(o.Worker), socket: os.NewFile(uintptr(ends[0]), "server's end"), log: o.Log,
		waiting: map[uint64]*waiting{}, ended: make(chan struct{}), tick: o.tick(),
	}
	p.sender = NewSender(p.socket)
	p.cmd.Dir = "/"
	p.cmd.Env = []string{} // not that of the server
	for name, value := range o.Environment {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.ExtraFiles = []*os.File{theirs} // WorkerSocket
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = &lines{log: o.Log}
	p.cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the worker: %w", err), p.socket.Close())
	}
	p.log.Info("keystore worker started", slog.Int("pid", p.cmd.Process.Pid))
	go p.run()
	go p.watch()
	return p, nil
}

// run takes the answers until the worker ends, or must.
func (p *process) run() {
	r := bufio.NewReader(p.socket)
	for {
		message, err := ReadFrame(r)
		var a Answer
		if err == nil {
			a, err = DecodeAnswer(message)
		}
		if err == nil {
			err = p.take(a)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
			err = errors.New("the worker has ended")
		}
		if err != nil {
			p.fail(err)
			break
		}
	}
	// Until Wait the process id is this worker's, dead or not.
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	err := p.cmd.Wait()
	if why := p.reason(); errors.Is(why, keystore.ErrClosed) {
		p.log.Info("keystore worker has ended")
	} else {
		p.log.Warn("keystore worker is gone", slog.Any("why", why), slog.Any("status", err))
	}
	close(p.ended)
}

// watch ends the worker when it is late with an answer. One ticker for all calls costs less than a timer for
// each. While the token makes a key pair, which may take minutes, only that is bounded: many do nothing else meanwhile.
func (p *process) watch() {
	ticker := time.NewTicker(p.tick)
	defer ticker.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-ticker.C:
		}
		if late := p.late(); late != nil {
			p.fail(late)
		}
	}
}

// late counts a tick for every call that is bounded now, and says which has exceeded its bound.
func (p *process) late() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	generating := false
	for _, w := range p.waiting {
		generating = generating || w.late.verb == verbGenerate
	}
	for _, w := range p.waiting {
		if generating && w.late.verb != verbGenerate {
			continue
		}
		if w.left--; w.left <= 0 {
			return w.late
		}
	}
	return nil
}

// take gives an answer to whom it belongs.
func (p *process) take(a Answer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[a.ID]
	if w == nil {
		return fmt.Errorf("the worker answers request %d, which was not asked", a.ID)
	}
	delete(p.waiting, a.ID)
	w.answer <- a
	w.done()
	if a.Refusal == nil {
		p.served = true
	} else if a.Refusal.Code == CodeGone || a.Refusal.Code == CodePIN {
		p.retired = errors.New(a.Refusal.Text)
	}
	if len(p.waiting) == 0 {
		return p.retired
	}
	return nil
}

// fail ends the worker: nothing is asked of it any more, and nobody waits for it. Only the first reason counts.
func (p *process) fail(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		return
	}
	p.over = why
	for id, w := range p.waiting {
		close(w.answer)
		w.done()
		delete(p.waiting, id)
	}
	_ = p.socket.Close() // which wakes run
}

func (p *process) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// usable says whether something may be asked of the worker.
func (p *process) usable() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over == nil && p.retired == nil
}

// hung is the end of a worker that did not answer in time.
type hung struct {
	verb  string
	bound time.Duration
}

func (h *hung) Error() string {
	return fmt.Sprintf("the worker did not answer within %v (%s) and was killed; another takes its place", h.bound, h.verb)
}

// Unwrap says that it is about time.
func (h *hung) Unwrap() error { return context.DeadlineExceeded }

// ask asks one thing of the worker. The bound begins now and holds whatever becomes of the context: if there
// is no answer within it the worker is killed, and not because a caller goes away. done is called once, when
// there is an answer or will be none.
func (p *process) ask(ctx context.Context, r Request, bound time.Duration, done func()) (Answer, error) {
	w, err := p.enlist(&r, bound, done)
	if err != nil {
		done()
		return Answer{}, err
	}
	message, err := json.Marshal(r)
	if err == nil && len(message) > maxFrame {
		err = fmt.Errorf("the request is longer than %d bytes", maxFrame)
	}
	if err != nil {
		p.drop(r.ID)
		return Answer{}, fmt.Errorf("writing a request: %w", err)
	}
	err = p.sender.Send(message)
	clear(message) // there may be a PIN in it
	if err != nil {
		p.fail(fmt.Errorf("asking the worker: %w", err))
	}
	select {
	case a, there := <-w.answer:
		if !there {
			return Answer{}, p.reason()
		}
		return a, nil
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("waiting for the worker: %w", context.Cause(ctx))
	}
}

// enlist gives the request its id and its bound.
func (p *process) enlist(r *Request, bound time.Duration, done func()) (*waiting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		return nil, p.over
	}
	p.last++
	r.ID = p.last
	w := &waiting{answer: make(chan Answer, 1), late: &hung{r.verb(), bound}, left: int((bound+p.tick-1)/p.tick) + 1, done: done}
	p.waiting[r.ID] = w
	return w, nil
}

// drop takes back a request that was never sent.
func (p *process) drop(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.waiting[id]; w != nil {
		w.done()
		delete(p.waiting, id)
	}
}

const verbGenerate = "generate"

func (r *Request) verb() string {
	switch {
	case r.Open != nil:
		return "open"
	case r.Generate != nil:
		return verbGenerate
	case r.Adopt != nil:
		return "adopt"
	case r.PublicKey != nil:
		return "publickey"
	case r.Sign != nil:
		return "sign"
	}
	return "ready"
}
