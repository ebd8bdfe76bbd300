package replay

import "io"

// A user is embedded in every reader that needs the source. Its body counts users,
// to know when the source can be closed. A user counts from its first Read on,
// because a transport may open readers that it neither reads nor closes.
//
// The body's mutex guards the fields. Callers of leave and gone hold it.
type user struct {
	body    *Body
	attempt int // of the body, when the reader was opened
	joined  bool
	closed  bool
	left    bool // does not need the source any more
}

// leave takes a reader that is closed or at its end off the count.
func (u *user) leave() {
	if u.joined && !u.left && u.attempt == u.body.attempt { // Begin has taken the others off the count
		u.body.open--
	}
	u.left = true
}

// gone returns an error if the reader is closed or of an earlier attempt.
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

// enter comes before each Read that may need the source, and exit after it.
func (u *user) enter() error {
	b := u.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch err := u.gone(); {
	case err != nil:
		return err
	case !u.joined && b.closed && !b.isRecorded():
		return errFinished
	case !u.joined:
		u.joined = true
		b.open++
	}
	b.reading++
	return nil
}

func (u *user) exit() {
	u.body.mu.Lock()
	defer u.body.unlock()
	u.body.reading--
}

// unlock unlocks b.mu, and then closes the source if the request is over and no
// reader needs it. It does not wait for a Read of a one-shot reader that is under
// way, which may block until the source is closed.
func (b *Body) unlock() {
	var last io.Closer
	if b.finished && b.open == 0 && (b.reading == 0 || b.OneShot()) {
		last, b.closer = b.closer, nil
	}
	b.closed = b.closed || last != nil
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
