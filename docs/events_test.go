package docs

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/jarcoal/httpmock"
	"github.com/restyretry/restyretry"
)

// block: recipes.md
import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
)

// An Event is one of a stream of server-sent events.
type Event struct{ ID, Name, Data string }

// Events calls handle with the events of a stream, and connects again when the
// stream ends, from the event after the last one. The plugin retries each
// connection. It returns when ctx ends, the server says 204 (no more), or a
// connection cannot be made.
func Events(ctx context.Context, client *resty.Client, url string, handle func(Event)) error {
	last, wait := "", 3*time.Second
	for {
		r := client.R().SetContext(ctx).SetDoNotParseResponse(true).SetHeader("Accept", "text/event-stream")
		if last != "" {
			r.SetHeader("Last-Event-ID", last)
		}
		resp, err := r.Get(url)
		if err != nil {
			return err
		}
		if resp.StatusCode() == http.StatusOK {
			last, wait = readEvents(resp, last, wait, handle)
		}
		resp.RawBody().Close()
		switch {
		case resp.StatusCode() == http.StatusNoContent:
			return nil
		case resp.StatusCode() != http.StatusOK:
			return fmt.Errorf("events: %s", resp.Status())
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readEvents reads a stream until it breaks. It returns the last ID, and how long
// to wait before the next connection.
func readEvents(resp *resty.Response, last string, wait time.Duration, handle func(Event)) (string, time.Duration) {
	event, lines := Event{}, bufio.NewScanner(resp.RawBody()) // a line may have 64 KiB
	id, data := last, []string(nil)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id = value
		case "event":
			event.Name = value
		case "data":
			data = append(data, value)
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
				wait = time.Duration(ms) * time.Millisecond
			}
		}
		if lines.Text() != "" {
			continue
		}
		last = id // an event that has not ended yet comes again
		if data != nil {
			event.ID, event.Data = last, strings.Join(data, "\n")
			handle(event)
		}
		event, data = Event{}, nil
	}
	return last, wait
}

// end of block

func TestEventsReconnectFromTheLastOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := []string{
			"retry: 500\n\nid: 1\ndata: one\ndata: more\n\nid: 2\ndata: cut o",
			"503",
			": hello\n\nid: 2\nevent: news\ndata: two\n\n",
			"204",
		}
		var asked []string
		client := newClient(t, func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.Header.Get("Last-Event-ID"))
			stream := streams[len(asked)-1]
			if status, err := strconv.Atoi(stream); err == nil {
				return httpmock.NewStringResponse(status, ""), nil
			}
			resp := httpmock.NewStringResponse(200, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(stream), broken{}))
			return resp, nil
		}, func(o *restyretry.Options) { o.Wait = restyretry.Constant(time.Second) })

		var got []Event
		start := time.Now()
		err := Events(t.Context(), client, "/events", func(e Event) { got = append(got, e) })
		if want := (`[{1  one` + "\n" + `more} {2 news two}]`); err != nil || fmt.Sprint(got) != want {
			t.Errorf("got %v, %v, want %s", got, err, want)
		}
		if want := `["" "1" "1" "2"]`; fmt.Sprintf("%q", asked) != want {
			t.Errorf("got Last-Event-ID %q, want %s", asked, want)
		}
		if took := time.Since(start).Round(time.Millisecond); took != 2*time.Second {
			t.Errorf("took %v, want 0.5 s twice and the plugin's second", took)
		}
	})
}

// broken is the end of a stream whose connection broke.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
