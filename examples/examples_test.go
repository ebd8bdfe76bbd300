// Package examples runs the programs in its folders.
package examples

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	// The programs use it: without this, go test would show an old result after
	// a change of the package.
	_ "github.com/restyretry/restyretry"
)

// shown has a part of what each program prints.
var shown = map[string]string{
	"quickstart": "In all: 3 requests, 10 attempts, 7 retries, 2 recovered, 1 given up",
	"cooldown":   "with a Cooldown: 1 tried the primary first, all answered after ",
	"failover":   "attempt 2: south answers /mirror/list",
	"override":   "Off                attempts 1, status 503\n",
}

func TestExamplesRunAndSayWhatTheyShow(t *testing.T) {
	programs := build(t)
	for name := range shown {
		if programs[name] == "" {
			t.Errorf("got no program in the folder %s, want one", name)
		}
	}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, ok := shown[name]
			if !ok {
				t.Fatal("got a program that nothing is known of, want a line in shown")
			}
			var stdout, stderr bytes.Buffer
			run := exec.CommandContext(t.Context(), program)
			run.Stdout, run.Stderr = &stdout, &stderr
			if err := run.Run(); err != nil {
				t.Fatalf("got %v\n%s", err, &stderr)
			}
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("got\n%s\nwant %q in it", &stdout, want)
			}
		})
	}
}

// build builds the programs of this module's folders, all at once, and returns
// where they are, by the name of the folder.
func build(t *testing.T) map[string]string {
	t.Helper()
	readSources(t)
	dir := t.TempDir() + string(filepath.Separator) // a folder, to go build
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", dir, "./...").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	built, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	programs := make(map[string]string)
	for _, file := range built {
		programs[strings.TrimSuffix(file.Name(), ".exe")] = filepath.Join(dir, file.Name())
	}
	return programs
}

// readSources opens all source files, since go test repeats a test when a file
// that it has opened has changed.
func readSources(t *testing.T) {
	t.Helper()
	sources, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range sources {
		if _, err := os.ReadFile(source); err != nil {
			t.Fatal(err)
		}
	}
}
