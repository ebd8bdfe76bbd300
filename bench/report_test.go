package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restyretry/restyretry/bench/internal/report"
)

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		duration(1234):                  "1.2 µs",
		duration(2_500_000):             "2.50 ms",
		size(100):                       "100 B",
		size(20 << 10):                  "20.0 KiB",
		size(256 << 20):                 "256.0 MiB",
		signed(-0.2, 0):                 "0",
		signed(2.4, 1):                  "+2.4",
		ratio(estimate{1, 1, 1}):        "1",
		percent(estimate{1.1, 1, 1.25}): "+10.0 (0.0 to +25.0)",
		brief(errors.New("Get \"http://127.0.0.1:4711/x\":\n `no`")): "`Get \"http://127.0.0.1:port/x\": 'no'`",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAPeerIsAheadBelow97Percent(t *testing.T) {
	got := aheadBy("time", map[string]float64{ourName: 100, "rehttp": 50, "heimdall": 98})
	if len(got) != 1 || got[0] != "time: rehttp -50 %" {
		t.Errorf("got %q, want rehttp alone", got)
	}
}

func TestTheReportSaysWhatWasMissedAndHowToRepeatIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "charts"), 0o755); err != nil {
		t.Fatal(err)
	}
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte(beginMark+endMark), 0o600); err != nil {
		t.Fatal(err)
	}
	s := section{
		id: "x", title: "A title", ahead: []string{"time: somebody -5 %"}, chart: &report.Bars{Title: "A chart", Unit: "µs"},
		table: report.Table{Head: []string{"a", "b"}}, bounds: []bound{{"that", "+1", "+2", false}, {"this", "+1", "+1", true}},
	}
	s.table.Add("1", "2")
	s.chart.Add("one", 1, true)
	all := []section{s}
	if err := write(dir, document(all, "Measured here."), all); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(readme)
	for _, want := range []string{
		"Measured here.", "### A title\n\nBy `go run . -only x`.\n\n| a | b |\n", "somebody", "![A chart](charts/x.svg)",
		"| that | +1 | +2 | **no** | `go run . -only x` |", "| this | +1 | +1 | yes |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got %s, want %q in it", text, want)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "charts", "x.svg")); err != nil || len(svg) == 0 {
		t.Errorf("got %d bytes, %v, want a picture", len(svg), err)
	}
}
