// Package report writes Markdown tables and bar charts, and puts text between
// the marks of a document.
package report

import (
	"fmt"
	"os"
	"strings"
)

// A Table is a Markdown table.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row. Cells that are missing at its end stay empty.
func (t *Table) Add(cells ...string) {
	t.Rows = append(t.Rows, append(cells, make([]string, max(0, len(t.Head)-len(cells)))...))
}

// String is the table as Markdown.
func (t *Table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(&b, "| %s ", strings.ReplaceAll(c, "|", "\\|"))
		}
		b.WriteString("|\n")
	}
	line(t.Head)
	b.WriteString(strings.Repeat("|---", len(t.Head)) + "|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// Replace puts text between the marks begin and end of the file at path.
func Replace(path, begin, end, text string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(document), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has not both of the marks %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(head+begin+"\n\n"+text+"\n"+end+tail), 0o644)
}
