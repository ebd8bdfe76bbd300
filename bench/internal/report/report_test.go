package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restyretry/restyretry/bench/internal/report"
)

func TestATableHasAllItsCells(t *testing.T) {
	table := report.Table{Head: []string{"a", "b"}}
	table.Add("1", "2|3")
	table.Add("short")
	want := "| a | b |\n|---|---|\n| 1 | 2\\|3 |\n| short |  |\n"
	if got := table.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReplacePutsTextBetweenTheMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.md")
	for _, c := range []struct{ name, document, want string }{
		{"both marks", "head\n<b>\nold\n<e>\ntail\n", "head\n<b>\n\nnew\n<e>\ntail\n"},
		{"no marks", "nothing", ""},
		{"no end", "<b>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.document), 0o600); err != nil {
				t.Fatal(err)
			}
			err := report.Replace(path, "<b>", "<e>", "new")
			got, _ := os.ReadFile(path)
			if c.want == "" && (err == nil || string(got) != c.document) {
				t.Errorf("got %q, %v, want an error and the document as it was", got, err)
			}
			if c.want != "" && (err != nil || string(got) != c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestBarsDrawAPicture(t *testing.T) {
	bars := report.Bars{Title: "A chart", Unit: "µs"}
	bars.Add("one", 1, true)
	bars.Add("two", 2, false)
	path := filepath.Join(t.TempDir(), "x.svg")
	if err := bars.Save(path); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(svg), "<svg") || !strings.Contains(string(svg), "#1F77B4") {
		t.Errorf("got %d bytes, %v, want a picture with a marked bar", len(svg), err)
	}
}
