package harness

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// Silent is a Resty logger that says nothing.
type Silent struct{}

func (Silent) Errorf(string, ...any) {}
func (Silent) Warnf(string, ...any)  {}
func (Silent) Debugf(string, ...any) {}

// A Log keeps the lines that are logged. It is a logger for Resty; [Log.Slog] is one
// for the plugin.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Errorf(format string, v ...any) { fmt.Fprintf(l, "ERROR "+format+"\n", v...) }
func (l *Log) Warnf(format string, v ...any)  { fmt.Fprintf(l, "WARN "+format+"\n", v...) }
func (l *Log) Debugf(format string, v ...any) { fmt.Fprintf(l, "DEBUG "+format+"\n", v...) }

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Lines returns the lines so far.
func (l *Log) Lines() []string { return strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n") }

// Slog logs from the debug level on, without the time.
func (l *Log) Slog() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}
