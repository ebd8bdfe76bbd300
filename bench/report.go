package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/restyretry/restyretry/bench/internal/report"
)

// A section is a part of the report.
type section struct {
	id, title, text string
	table           report.Table
	chart           *report.Bars // or nil
	bounds          []bound
	ahead           []string // peers that did better than restyretry, and by how much
}

// A bound is what something may cost at most, and what it cost.
type bound struct {
	what, limit, got string
	held             bool
}

const (
	beginMark = "<!-- tables: written by go run . -->"
	endMark   = "<!-- end of tables -->"
)

// document is the report on all sections.
func document(sections []section, where string) string {
	var b strings.Builder
	bounds := report.Table{Head: []string{"what", "bound", "measured", "held", "command"}}
	ahead := report.Table{Head: []string{"in", "ahead of restyretry, and by how much"}}
	for _, s := range sections {
		for _, x := range s.bounds {
			held := "yes"
			if !x.held {
				held = "**no**"
			}
			bounds.Add(x.what, x.limit, x.got, held, command(s.id))
		}
		if len(s.ahead) > 0 {
			ahead.Add(s.title, strings.Join(s.ahead, "; "))
		}
	}
	fmt.Fprintf(&b, "%s\n\n%s\n\n", where, methodText)
	if bounds.Rows != nil {
		fmt.Fprintf(&b, "### Bounds\n\n%s\n", &bounds)
	}
	if ahead.Rows != nil {
		fmt.Fprintf(&b, "### Where a peer is ahead\n\n%s\n\n%s\n", aheadText, &ahead)
	}
	for _, s := range sections {
		b.WriteString(s.markdown())
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// command is what reproduces the figures of a section.
func command(id string) string { return "`go run . -only " + id + "`" }

func (s section) markdown() string {
	text := fmt.Sprintf("### %s\n\n%s\n\n%s\n", s.title, strings.TrimSpace("By "+command(s.id)+". "+s.text), &s.table)
	if s.chart != nil {
		text += fmt.Sprintf("![%s](charts/%s.svg)\n\n", s.chart.Title, s.id)
	}
	return text
}

// write puts the report into README.md of dir and draws the charts.
func write(dir, text string, sections []section) error {
	for _, s := range sections {
		if s.chart == nil {
			continue
		}
		if err := s.chart.Save(filepath.Join(dir, "charts", s.id+".svg")); err != nil {
			return err
		}
	}
	return report.Replace(filepath.Join(dir, "README.md"), beginMark, endMark, text)
}

const methodText = "In each round every variant runs once, in random order; after a block of rounds all servers, clients and connections " +
	"are made anew, in another process: where code and heap come to lie makes a difference that would pass for a peer's own. " +
	"Lines of a table of costs take turns, block by block. " +
	"A time is the median of the blocks' medians. A ratio or a difference is taken within each round; its median " +
	"of the blocks' medians has a 95 % confidence interval by order statistics (sign test over the blocks). " +
	"In memory a variant runs for about 0.2 ms at a time, or once if one run takes longer: most such times have no garbage collection in them, " +
	"but with bodies of 1 MiB and in parallel many do; what is allocated more makes it come the more often. " +
	"Bytes and allocations are per request and, over loopback, include the server's, which is the same for all."

const aheadText = "By time and bytes where the whole confidence interval of the paired ratio is below 0.97, by other figures where they are " +
	"below 97 % of restyretry's, and only if the work was done right."

// ahead lists the peers whose figure is surely below 97 % of ours, given the
// ratios of theirs to ours.
func ahead(what string, ratios map[string]estimate) []string {
	var names []string
	for _, p := range peers {
		if r, ok := ratios[p.name]; ok && r.high < 0.97 {
			names = append(names, fmt.Sprintf("%s %s %%", p.name, signed(100*(r.median-1), 0)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{what + ": " + strings.Join(names, ", ")}
}

// aheadBy is ahead for figures that were measured once.
func aheadBy(what string, figures map[string]float64) []string {
	ratios := map[string]estimate{}
	for name, v := range figures {
		r := v / figures[ourName]
		ratios[name] = estimate{r, r, r}
	}
	return ahead(what, ratios)
}

// machine says what the figures were measured on, and when.
func machine(start time.Time, loadBefore string) string {
	return fmt.Sprintf("Measured on %s by %s %s/%s on %s, %d cores, in %.0f s; load average %s before and %s after. Versions: %s.",
		start.UTC().Format("2006-01-02 15:04 UTC"), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		cpu(), runtime.NumCPU(), time.Since(start).Seconds(), loadBefore, load(), strings.Join(versions(), ", "))
}

// versions says which versions of the peers were measured.
func versions() (list []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, p := range peers {
		for _, m := range info.Deps {
			if m.Path == p.module {
				list = append(list, m.Path+" "+m.Version)
			}
		}
	}
	return list
}

// load is how many processes wanted a core in the last minute, where the system
// tells it.
func load() string {
	all, _ := os.ReadFile("/proc/loadavg")
	minute, _, _ := strings.Cut(string(all), " ")
	return cmp.Or(minute, "unknown")
}

// cpu is the name of the processor, where the system tells it.
func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown processor"
}

// bold stresses what is not zero.
func bold(n int) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("**%d**", n)
}

// signed prints a figure with its sign, but none where it rounds to zero.
func signed(x float64, digits int) string {
	s := fmt.Sprintf("%+.*f", digits, x)
	if strings.Trim(s, "+-0.") == "" {
		return s[1:]
	}
	return s
}

// percent prints a ratio as what it is above 1, with its confidence interval.
func percent(e estimate) string {
	above := func(r float64) string { return signed(100*(r-1), 1) }
	return fmt.Sprintf("%s (%s to %s)", above(e.median), above(e.low), above(e.high))
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
	if ns < 1e6 {
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
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

var (
	tempDir   = regexp.MustCompile(`/\S*/(upload|early)\d+/`)
	localPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

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
