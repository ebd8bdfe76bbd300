package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunSaysWhatBecameOfEachRequestAndWritesThePage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline.html")
	var out strings.Builder
	if err := run(&out, path); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ name, end string }{
		{"✓ Two 503s, then the answer ", "succeeded"},
		{"✓ Failover to another server ", "succeeded"},
		{"✓ The server says how long ", "succeeded"},
		{"✓ Polling a job ", "succeeded"},
		{"✓ One slow attempt ", "succeeded"},
		{"✗ Still down after four attempts ", "attempts"},
		{"✗ A POST is not repeated ", "method"},
		{"✗ The deadline is too near ", "deadline"},
		{"✗ Cancelled while waiting ", "cancelled"},
		{"✗ The server asks for an hour ", "server-wait"},
		{"✗ The budget is used up ", "budget"},
		{"✗ Told to wait, without a retry ", "attempts"},
		{"✗ A host that still cools down ", "cooldown"},
		{"✓ Held back by the Cooldown ", "succeeded"},
	} {
		_, rest, _ := strings.Cut(out.String(), want.name)
		if line, _, _ := strings.Cut(rest, "\n"); !strings.HasSuffix(line, " "+want.end) {
			t.Errorf("got %q after %q, want it to end in %q", line, want.name, want.end)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(page), "<!DOCTYPE html>") {
		t.Errorf("got %.40q, %v; want a page", page, err)
	}
	if !strings.Contains(out.String(), path) {
		t.Errorf("got\n%s\nwant the path %s", &out, path)
	}
}
