// Package docs keeps the code of README.md and of the pages in this folder true:
// every Go block in them is code of a test that runs.
package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where the code of a page stands: between a line "// block: " with the name of
// the page and a line "// end of block", in a file that matches one of these.
var sources = []string{"*_test.go", "../examples/breaker/*.go"}

const begin, end = "// block: ", "// end of block"

func TestEveryGoBlockIsCodeThatRuns(t *testing.T) {
	code := map[string][]string{}
	for _, path := range glob(t, sources...) {
		for page, blocks := range compiled(read(t, path)) {
			code[page] = append(code[page], blocks...)
		}
	}
	for _, path := range glob(t, "../README.md", "*.md") {
		page := filepath.Base(path)
		shown := fenced(read(t, path))
		for _, block := range shown {
			if !slices.Contains(code[page], block) {
				t.Errorf("%s shows code that no test runs:\n%s", page, block)
			}
		}
		for _, block := range code[page] {
			if !slices.Contains(shown, block) {
				t.Errorf("%s does not show this code of a test:\n%s", page, block)
			}
		}
		delete(code, page)
	}
	for page := range code {
		t.Errorf("tests have code for %s, which does not exist", page)
	}
}

func TestEveryGoBlockCompilesAsPasted(t *testing.T) {
	for _, path := range glob(t, "../README.md", "*.md") {
		for _, block := range fenced(read(t, path)) {
			for _, fault := range faults(block) {
				t.Errorf("%s: %v in\n%s", filepath.Base(path), fault, block)
			}
		}
	}
}

func TestFaultsOfPastedCodeAreFound(t *testing.T) {
	for _, test := range []struct{ block, want string }{
		{"resp, err := get()\nuse(resp)", "[declared and not used: err]"},
		{"err := get()\nerr := get()\nuse(err)", "[no new variables on left side of :=]"},
		{"use(client)", "[]"},
		{"type silent struct{}", "[]"},
		{"import (\n\"errors\"\n\"net/http\"\n\"example.com/x/v2\"\n)\nvar _, _ = http.Get, x.X", `["errors" imported and not used]`},
	} {
		if got := fmt.Sprint(faults(test.block)); got != test.want {
			t.Errorf("%q: got %s, want %s", test.block, got, test.want)
		}
	}
}

// faults are the errors that a block has by itself, whatever stands around it:
// syntax, variables that are not used or declared twice.
func faults(block string) (found []string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", "package p\n"+block, 0)
	if err != nil {
		file, err = parser.ParseFile(fset, "", "package p\nfunc _() {\n"+block+"\n}", 0)
	}
	if err != nil {
		return []string{err.Error()}
	}
	config := types.Config{Error: func(err error) {
		message := err.(types.Error).Msg // the names from outside are unknown here
		if strings.HasPrefix(message, "declared and not used") || strings.HasPrefix(message, "no new variables") {
			found = append(found, message)
		}
	}}
	_, _ = config.Check("p", fset, []*ast.File{file}, nil)
	return append(found, unused(file)...)
}

// unused are the imports that a file has no use for.
func unused(file *ast.File) (found []string) {
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			used[types.ExprString(s.X)] = true
		}
		return true
	})
	for _, spec := range file.Imports {
		name := strings.TrimSuffix(strings.Trim(spec.Path.Value, `"`), "/v2")
		if !used[name[strings.LastIndex(name, "/")+1:]] {
			found = append(found, spec.Path.Value+" imported and not used")
		}
	}
	return found
}

// fenced returns the Go blocks of a page.
func fenced(page string) []string {
	var blocks []string
	for _, part := range strings.Split(page, "\n```go\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, block)
	}
	return blocks
}

// compiled returns the blocks in a Go file, by the page that shows them. The
// indentation of the marker is not part of a block.
func compiled(file string) map[string][]string {
	blocks := map[string][]string{}
	var page, indent string
	var block []string
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimLeft(line, "\t")
		switch name, found := strings.CutPrefix(text, begin); {
		case found:
			page, indent, block = name, strings.TrimSuffix(line, text), nil
		case text == end:
			blocks[page] = append(blocks[page], strings.Trim(strings.Join(block, "\n"), "\n"))
			page = ""
		case page != "":
			block = append(block, strings.TrimPrefix(line, indent))
		}
	}
	return blocks
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var paths []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: got no files (%v)", pattern, err)
		}
		paths = append(paths, found...)
	}
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
