// The example sends requests that meet trouble of every kind, to servers that it
// starts itself, and writes a page for the browser that shows what became of them.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/timeline"
)

func main() {
	path := flag.String("o", filepath.Join(os.TempDir(), "timeline.html"), "the `file` to write")
	flag.Parse()
	if err := run(os.Stdout, *path); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, path string) error {
	requests, err := send()
	if err != nil {
		return err
	}
	for _, r := range requests {
		fmt.Fprintln(out, summary(r))
	}
	var page bytes.Buffer
	if err := timeline.Write(&page, requests...); err != nil {
		return err
	}
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nOpen this in a browser: %s\n", path)
	return nil
}

// send sends the request of each scenario, and returns what became of them.
func send() ([]timeline.Request, error) {
	var recorder timeline.Recorder
	client := resty.New().SetLogger(silent{})
	if _, err := restyretry.Install(client, recorder.Record); err != nil {
		return nil, err
	}
	scenarios, closeServers := newScenarios()
	defer closeServers()
	for _, s := range scenarios {
		s.send(client)
	}
	return recorder.Requests(), nil
}

// send sends the request. Its error is on the page.
func (s scenario) send(client *resty.Client) {
	ctx := timeline.Named(context.Background(), s.name, s.about)
	if s.limit != nil {
		limited, cancel := s.limit(ctx)
		defer cancel()
		ctx = limited
	}
	_, _ = client.R().SetContext(restyretry.With(ctx, s.option)).Execute(s.method, s.url)
}

// summary is a request in one line.
func summary(r timeline.Request) string {
	first, last := r.Attempts[0], r.Attempts[len(r.Attempts)-1]
	symbol := "✗"
	if last.Reason == restyretry.ReasonSucceeded {
		symbol = "✓"
	}
	took := r.Ended.Sub(first.Start) + first.Held
	return fmt.Sprintf("%s %-34s %d of %d attempts %5d ms  %s",
		symbol, r.Name, len(r.Attempts), last.Max, took.Round(time.Millisecond).Milliseconds(), last.Reason)
}

// silent keeps Resty from logging every failed attempt on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
