// Timeline sends requests that meet different fates, to servers that it starts
// itself, and draws their lives on a page for the browser: every attempt, every
// wait and why.
//
// To have such a page of your own requests copy record.go, page.go and
// page.html: install the hooks of a recorder, and call writePage with its lives.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/restyretry/restyretry"
)

func main() {
	path := flag.String("o", filepath.Join(os.TempDir(), "timeline.html"), "the `file` to write")
	flag.Parse()
	if err := run(os.Stdout, *path); err != nil {
		fmt.Fprintln(os.Stderr, "timeline:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, path string) error {
	lives, err := meetFates()
	if err != nil {
		return err
	}
	for _, l := range lives {
		fmt.Fprintln(out, summary(l))
	}
	var page bytes.Buffer
	if err := writePage(&page, lives); err != nil {
		return err
	}
	if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nOpen this in a browser: %s\n", path)
	return nil
}

// meetFates sends the request of each fate.
func meetFates() ([]life, error) {
	var recorded recorder
	client := resty.New().SetLogger(silent{})
	_, err := restyretry.Install(client, func(o *restyretry.Options) {
		o.Hooks = append(o.Hooks, recorded.hooks())
	})
	if err != nil {
		return nil, err
	}
	fates, closeServers := makeFates()
	defer closeServers()
	for _, f := range fates {
		if err := f.meet(client); err != nil {
			return nil, err
		}
	}
	return recorded.lives(), nil
}

// meet sends the request. What becomes of it is the recorder's to tell, but for
// a request that the plugin never saw.
func (f fate) meet(client *resty.Client) error {
	ctx := named(context.Background(), f.name, f.about)
	if f.limit != nil {
		limited, cancel := f.limit(ctx)
		defer cancel()
		ctx = limited
	}
	request := client.R().SetContext(restyretry.With(ctx, f.option))
	_, err := request.Execute(f.method, f.url)
	if restyretry.History(request) == nil {
		return errors.Join(fmt.Errorf("%q has no history", f.name), err)
	}
	return nil
}

// summary is a life in one line.
func summary(l life) string {
	symbol, last := "✗", l.Attempts[len(l.Attempts)-1]
	if last.Reason == restyretry.ReasonSucceeded {
		symbol = "✓"
	}
	return fmt.Sprintf("%s %-34s %-10s %5d ms  %s", symbol, l.Name,
		count(len(l.Attempts), "attempt"), l.Ended.Sub(l.Attempts[0].Start).Round(time.Millisecond).Milliseconds(), last.Reason)
}

// silent keeps Resty from logging the errors of attempts on its own.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}
