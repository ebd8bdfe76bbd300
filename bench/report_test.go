package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBetween(t *testing.T) {
	document := "head\n" + beginMark + "\nold\n" + endMark + "\ntail\n"
	got, err := between(document, "new")
	if want := "head\n" + beginMark + "\n\nnew\n" + endMark + "\ntail\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := between("nothing", "new"); err == nil {
		t.Error("got no error for a document without marks")
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		duration(1234):                     "1.2 µs",
		duration(2_500_000):                "2.50 ms",
		size(100):                          "100 B",
		size(20 << 10):                     "20.0 KiB",
		size(256 << 20):                    "256.0 MiB",
		signed(-0.2, 0):                    "0",
		signed(2.4, 1):                     "+2.4",
		ratio(estimate{1, 1, 1}):           "1",
		percent(estimate{1.1, 1, 1.25}):    "+10.0 (0.0 to +25.0)",
		difference(estimate{-5, -6, 0}, 0): "-5 (-6 to 0)",
		brief(errors.New("Get \"http://127.0.0.1:4711/x\":\n `no`")): "`Get \"http://127.0.0.1:port/x\": 'no'`",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWriteReport(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "charts"), 0o755); err != nil {
		t.Fatal(err)
	}
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte(beginMark+endMark), 0o600); err != nil {
		t.Fatal(err)
	}
	s := section{id: "x", title: "A title", ahead: []string{"time: somebody -5 %"}, chart: &chart{title: "A chart", unit: "µs"}}
	s.table.head = []string{"a", "b"}
	s.table.add("1", "2|3")
	s.chart.add("one", 1, true)
	s.chart.add("two", 2, false)
	if err := writeReport(dir, report([]section{s}, "Measured here."), []section{s}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(readme)
	for _, want := range []string{"Measured here.", "### A title", "| 1 | 2\\|3 |", "somebody", "![A chart](charts/x.svg)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got %s, want %q in it", text, want)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "charts", "x.svg")); err != nil || !strings.Contains(string(svg), "<svg") {
		t.Errorf("got %d bytes, %v, want a picture", len(svg), err)
	}
}
