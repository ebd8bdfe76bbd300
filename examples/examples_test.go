// Package examples runs the programs in its folders.
package examples

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	// The programs use it: without this, go test would show an old result after
	// a change of the package.
	_ "github.com/restyretry/restyretry"
)

func TestExamplesRunAndSayWhatTheyShow(t *testing.T) {
	for _, example := range []struct{ name, want string }{
		{"quickstart", "In all: 3 requests, 10 attempts, 7 retries, 2 recovered, 1 given up"},
		{"failover", "attempt 2: south answers /mirror/list"},
		{"cooldown", "with a Cooldown: 1 tried the primary first, all answered after "},
		{"trace", "OnAttempt  this is the last attempt!\ntransport  attempt 3\n"},
		{"override", "Off                attempts 1, status 503\n"},
		{"timeline", "✗ The budget is used up "},
		{"stats", "retries    3\nrecovered  1\ngiven up   map[attempts:1]\nwaited     60ms\n"},
	} {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			// go test repeats a test when a file that it has opened has changed.
			if _, err := os.ReadFile(example.name + "/main.go"); err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			run := exec.CommandContext(t.Context(), "go", "run", "./"+example.name)
			run.Env = append(run.Environ(), "TMPDIR="+t.TempDir()) // where timeline writes its page
			run.Stderr = &stderr
			out, err := run.Output()
			if err != nil {
				t.Fatalf("got %v\n%s", err, stderr.String())
			}
			if !strings.Contains(string(out), example.want) {
				t.Errorf("got\n%s\nwant the line %q", out, example.want)
			}
		})
	}
}
