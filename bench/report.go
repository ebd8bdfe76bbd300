package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A section is a part of the report: text, a table, and perhaps a chart.
type section struct {
	id, title, text string
	table           table
	chart           *chart
	ahead           []string // peers that did better than we, and by how much
}

// A table is a Markdown table.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(&b, "| %s ", strings.ReplaceAll(c, "|", "\\|"))
		}
		b.WriteString("|\n")
	}
	line(t.head)
	b.WriteString(strings.Repeat("|---", len(t.head)) + "|\n")
	for _, row := range t.rows {
		line(row)
	}
	return b.String()
}

// markdown is the whole section.
func (s section) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", s.title)
	if s.text != "" {
		fmt.Fprintf(&b, "%s\n\n", s.text)
	}
	b.WriteString(s.table.String())
	if s.chart != nil {
		fmt.Fprintf(&b, "\n![%s](charts/%s.svg)\n", s.chart.title, s.id)
	}
	return b.String()
}

// report is all sections, with what the figures were measured on and when, and
// with a list of what peers do better.
func report(sections []section, where string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", where, methodText)
	ahead := table{head: []string{"in", "ahead of restyretry, and by how much"}}
	for _, s := range sections {
		if len(s.ahead) > 0 {
			ahead.add(s.title, strings.Join(s.ahead, "; "))
		}
	}
	if len(ahead.rows) > 0 {
		fmt.Fprintf(&b, "### Where a peer is ahead\n\n%s\n\n%s\n", aheadText, ahead)
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "%s\n", s.markdown())
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// versions says which versions of the peers were measured.
func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var list []string
	for _, p := range peers {
		for _, m := range info.Deps {
			if m.Path == p.module {
				list = append(list, m.Path+" "+m.Version)
			}
		}
	}
	return strings.Join(list, ", ") + "."
}

var tempDir = regexp.MustCompile(`/\S*/(upload|early)\d+/`)

var localPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)

const methodText = "In each round every variant runs once, in random order; after a block of rounds all servers, clients and connections " +
	"are made anew. A time is the median of the blocks' medians; a ratio or a difference is taken within each round, and its median " +
	"of the blocks' medians has a 95 % confidence interval by order statistics (sign test over the blocks). " +
	"In memory a variant runs for about 0.2 ms at a time, or once if one run takes longer. Most such times have no garbage collection in them, " +
	"but with bodies of 1 MiB and in parallel many do. " +
	"Bytes and allocations are per request and, over loopback, include the server's, which is the same for all."

const aheadText = "By time and bytes where the whole confidence interval of the paired ratio is below 0.97, by other figures where they are " +
	"below 97 % of ours, and only if the work was done right."

// machine says what the figures were measured on, and when.
func machine(took time.Duration) string {
	return fmt.Sprintf("Measured on %s by %s %s/%s on %s, %d cores, in %.0f s. Versions: %s",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		cpu(), runtime.NumCPU(), took.Seconds(), versions())
}

// cpu is the name of the processor, where the system tells it.
func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}

const (
	beginMark = "<!-- tables: written by go run . -->"
	endMark   = "<!-- end of tables -->"
)

// between puts text between the two marks of a document.
func between(document, text string) (string, error) {
	head, rest, ok := strings.Cut(document, beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return "", fmt.Errorf("the document has not both of the marks %q and %q", beginMark, endMark)
	}
	return head + beginMark + "\n\n" + text + "\n" + endMark + tail, nil
}

// writeReport puts the report into README.md of dir and draws the charts.
func writeReport(dir, text string, sections []section) error {
	path := filepath.Join(dir, "README.md")
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole, err := between(string(document), text)
	if err != nil {
		return err
	}
	for _, s := range sections {
		if s.chart == nil {
			continue
		}
		if err := s.chart.save(filepath.Join(dir, "charts", s.id+".svg")); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(whole), 0o644)
}

// difference prints a difference with its confidence interval.
func difference(e estimate, digits int) string {
	return fmt.Sprintf("%s (%s to %s)", signed(e.median, digits), signed(e.low, digits), signed(e.high, digits))
}

// signed prints a figure with its sign, but none where it rounds to zero.
func signed(x float64, digits int) string {
	s := fmt.Sprintf("%+.*f", digits, x)
	if strings.Trim(s, "+-0.") == "" {
		return s[1:]
	}
	return s
}

// percent prints a ratio as what it is above 1.
func percent(e estimate) string {
	return difference(estimate{100 * (e.median - 1), 100 * (e.low - 1), 100 * (e.high - 1)}, 1)
}

// ratio prints a ratio with its confidence interval.
func ratio(e estimate) string {
	if e.low == 1 && e.high == 1 {
		return "1"
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", e.median, e.low, e.high)
}

// duration prints nanoseconds.
func duration(ns float64) string {
	switch {
	case ns < 1e6:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	default:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	}
}

// size prints a number of bytes.
func size(n float64) string {
	switch a := math.Abs(n); {
	case a < 10<<10:
		return fmt.Sprintf("%.0f B", n)
	case a < 1<<20:
		return fmt.Sprintf("%.1f KiB", n/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", n/(1<<20))
	}
}

// brief is an error in a table: one line, without the ports of this run.
func brief(err error) string {
	const longest = 110
	s := tempDir.ReplaceAllString(err.Error(), "/tmp/")
	s = localPort.ReplaceAllString(strings.Join(strings.Fields(s), " "), "127.0.0.1:port")
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return "`" + strings.ReplaceAll(s, "`", "'") + "`"
}
