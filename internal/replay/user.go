package replay

import "io"

// A user is the part of a reader that its body counts, to know when nobody needs
// the source any more. The body's mutex guards it, and is held by the callers of
// all methods but Close.
type user struct {
	body    *Body
	attempt int // of the body, when the reader was opened
	closed  bool
	left    bool // does not need the source any more
}

func (u *user) join() { u.body.open++ }

// leave is for a reader that is closed or at its end.
func (u *user) leave() {
	if !u.left && u.attempt == u.body.attempt { // Begin has taken the others off the count
		u.body.open--
	}
	u.left = true
}

// gone returns an error if nobody can read from the reader any more.
func (u *user) gone() error {
	switch {
	case u.closed:
		return errClosed
	case u.attempt != u.body.attempt:
		return errStale
	default:
		return nil
	}
}

// Close implements io.Closer. It does not wait for a Read that is under way.
func (u *user) Close() error {
	u.body.mu.Lock()
	defer u.body.unlock()
	u.closed = true
	u.leave()
	return nil
}

// enter and exit enclose each Read that may need the source.
func (b *Body) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading++
}

func (b *Body) exit() {
	b.mu.Lock()
	defer b.unlock()
	b.reading--
}

// unlock unlocks b.mu, and then closes the source if the last to need it has let
// go of it.
func (b *Body) unlock() {
	var last io.Closer
	if b.finished && b.open == 0 && b.reading == 0 {
		last, b.closer = b.closer, nil
	}
	if last == nil {
		b.mu.Unlock()
		return
	}
	if b.lost == nil && !b.isRecorded() {
		b.lost = ErrLost
	}
	b.mu.Unlock()
	_ = last.Close()
}

func (b *Body) isRecorded() bool { return b.recording != nil && b.recording.end == io.EOF }
