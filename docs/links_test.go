package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
)

func TestEveryLinkInThisRepositoryLeadsSomewhere(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		for _, broken := range brokenLinks(t, path) {
			t.Errorf("%s: %s", path, broken)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	text := "# A `b`: c\n[](#a-b-c) [](page.md#a-b-c) [](https://x.test) [](#no) [](no.md) [](page.md#no)\n```\n# no\n[](no)\n```\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(brokenLinks(t, page)), "[#no no.md page.md#no]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// brokenLinks are the links of a page to files or headings that do not exist.
func brokenLinks(t *testing.T, page string) (broken []string) {
	t.Helper()
	for _, match := range link.FindAllStringSubmatch(prose(t, page), -1) {
		to, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(to, "://") {
			continue
		}
		target := page
		if to != "" {
			target = filepath.Join(filepath.Dir(page), to)
		}
		_, err := os.Stat(target)
		if err != nil || anchor != "" && !slices.Contains(anchors(t, target), anchor) {
			broken = append(broken, match[1])
		}
	}
	return broken
}

// anchors are those that GitHub gives the headings of a page.
func anchors(t *testing.T, page string) (list []string) {
	t.Helper()
	for _, match := range heading.FindAllStringSubmatch(prose(t, page), -1) {
		list = append(list, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case strings.ContainsRune("`.,:;'’\"()?!&/×%", r):
				return -1
			default:
				return r
			}
		}, strings.ToLower(match[1])))
	}
	return list
}

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	return fence.ReplaceAllString(read(t, page), "")
}
