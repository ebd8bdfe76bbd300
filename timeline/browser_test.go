package timeline_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/restyretry/restyretry/timeline"
)

var shots = flag.String("shots", "", "a `folder` for screenshots of the browser test")

// A look is a way to open the page.
type look struct {
	width  int
	scheme string
}

func (l look) String() string { return fmt.Sprintf("%d-%s", l.width, l.scheme) }

var pages = []struct {
	name     string
	requests func(*testing.T) []timeline.Request
	looks    []look
}{
	{"stories", tell, []look{{390, "light"}, {390, "dark"}, {1280, "light"}, {1280, "dark"}, {320, "light"}}},
	{"hostile", hostileRequests, []look{{390, "dark"}, {1280, "light"}}},
	{"many", longRequest, []look{{390, "light"}}},
	{"none", func(*testing.T) []timeline.Request { return nil }, []look{{1280, "dark"}}},
}

func TestPageInBrowser(t *testing.T) {
	browser := startBrowser(t)
	for _, page := range pages {
		requests := page.requests(t)
		file := filepath.Join(t.TempDir(), page.name+".html")
		if err := os.WriteFile(file, []byte(pageOf(t, requests)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, l := range page.looks {
			name := page.name + "-" + l.String()
			t.Run(name, func(t *testing.T) {
				browser.open(t, file, l)
				checkLook(t, browser.measure(t), l, requests)
				browser.shoot(t, name)
			})
		}
	}
}

// A measurement is what measure.js finds on the page.
type measurement struct {
	Width, ScrollWidth float64
	Scheme             string
	Scripts            int
	Bars               int
	Attempts           int
	Problems           []string
}

func checkLook(t *testing.T, m measurement, l look, requests []timeline.Request) {
	t.Helper()
	if m.Width != float64(l.width) || m.ScrollWidth > m.Width {
		t.Errorf("got a page of %v px in a window of %v px, want at most %d in %[3]d", m.ScrollWidth, m.Width, l.width)
	}
	if m.Scheme != l.scheme {
		t.Errorf("got a %s page, want a %s one", m.Scheme, l.scheme)
	}
	if m.Scripts != 0 {
		t.Errorf("got %d scripts or handlers on the page, want none", m.Scripts)
	}
	attempts := 0
	for _, r := range requests {
		attempts += len(r.Attempts)
	}
	if m.Attempts != attempts || m.Bars < 2*attempts { // one by one, and on one scale
		t.Errorf("got %d attempts with %d bars, want %d with two each at the least", m.Attempts, m.Bars, attempts)
	}
	for _, problem := range m.Problems {
		t.Error(problem)
	}
}

// measureJS looks at everything on the page that has a place.
const measureJS = `(() => {
	const problems = [], root = document.documentElement
	const parse = c => { const n = c.match(/[\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3) }
	const luminance = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
	const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c } return [255, 255, 255] }
	const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05) }

	const lines = []
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	for (let node; node = walker.nextNode();) {
		if (!node.data.trim()) continue
		const range = document.createRange(), parent = node.parentElement, style = getComputedStyle(parent)
		range.selectNodeContents(node)
		for (const box of range.getClientRects()) {
			if (box.left < -0.5 || box.right > innerWidth + 0.5) problems.push('text beyond the page: ' + node.data.slice(0, 40))
			lines.push({box, node})
		}
		const ratio = contrast(parse(parent.closest('svg') ? style.fill : style.color), ground(parent))
		if (ratio < 4.5) problems.push('contrast ' + ratio.toFixed(2) + ' of ' + node.data.slice(0, 40))
	}
	for (let i = 0; i < lines.length; i++) for (let j = i + 1; j < lines.length; j++) {
		const a = lines[i].box, b = lines[j].box
		const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left)
		const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
		if (wide > 1 && high > 3) problems.push('text over text: ' + lines[i].node.data.slice(0, 40) + ' / ' + lines[j].node.data.slice(0, 40))
	}

	const bars = document.querySelectorAll('svg.lane .bar')
	for (const bar of bars) {
		const b = bar.getBoundingClientRect(), lane = bar.closest('svg').getBoundingClientRect()
		if (!(b.width > 0 && b.height > 0)) problems.push('an empty bar: ' + bar.outerHTML)
		if (b.left < lane.left - 1 || b.right > lane.right + 1 || b.top < lane.top - 1 || b.bottom > lane.bottom + 1) problems.push('a bar beyond its lane: ' + bar.outerHTML)
		const fill = getComputedStyle(bar).fill
		const ratio = fill.startsWith('url') ? 3 : contrast(parse(fill), ground(bar.closest('svg')))
		if (ratio < 3) problems.push('contrast ' + ratio.toFixed(2) + ' of ' + bar.outerHTML)
	}
	for (const svg of document.querySelectorAll('svg:not([aria-hidden=true])')) {
		if (!svg.getAttribute('aria-label')) problems.push('a picture without words')
	}
	for (const link of document.querySelectorAll('a')) {
		if (!document.querySelector(link.getAttribute('href'))) problems.push('a link to nowhere: ' + link.href)
	}
	const scripts = [...document.querySelectorAll('*')].filter(e => e.matches('script,iframe,object,embed,img') || [...e.attributes].some(a => a.name.startsWith('on')))
	return {
		width: innerWidth, scrollWidth: root.scrollWidth, scripts: scripts.length, bars: bars.length,
		scheme: luminance(ground(document.body)) > 0.5 ? 'light' : 'dark',
		attempts: document.querySelectorAll('.attempts > li').length, problems: problems.slice(0, 20),
	}
})()`

// A browser is Chromium, spoken to in the DevTools protocol through a pipe.
type browser struct {
	in      *os.File
	out     *bufio.Reader
	session string
	calls   int
	loaded  []string // what was asked for since open
}

// startBrowser skips the test where there is no browser.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := findBrowser()
	if path == "" {
		t.Skip("SKIPPED: the page was not looked at, as there is no chromium, chromium-browser or google-chrome here")
	}
	dir, err := os.MkdirTemp("", "timeline-browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	theirIn, in, err1 := os.Pipe()
	out, theirOut, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	// The flags keep it from the network; the page is our own, so it needs no
	// sandbox, which root would not get.
	run := exec.Command(path, "--headless", "--remote-debugging-pipe", "--user-data-dir="+dir, "--no-sandbox",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--hide-scrollbars")
	run.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the flag says
	var said bytes.Buffer
	run.Stderr, run.WaitDelay = &said, time.Second
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	limit := time.AfterFunc(time.Minute, func() { _ = run.Process.Kill(); _ = out.Close() })
	b := &browser{in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_, _ = b.send("Browser.close", nil), in.Close()
		_, _ = run.Wait(), out.Close()
		limit.Stop()
		if t.Failed() {
			t.Logf("the browser said:\n%s", &said)
		}
	})
	b.attach(t)
	return b
}

func findBrowser() string {
	if runtime.GOOS == "windows" { // no pipes as files 3 and 4
		return ""
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if exec.Command(path, "--version").Run() == nil { // Ubuntu has a stub that asks for a snap
			return path
		}
	}
	return ""
}

type object = map[string]any

func (b *browser) attach(t *testing.T) {
	t.Helper()
	var target struct{ TargetID string }
	b.call(t, "Target.createTarget", object{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call(t, "Page.enable", nil, nil)
	b.call(t, "Network.enable", nil, nil)
}

// open shows a file, and fails if the page asks for anything else.
func (b *browser) open(t *testing.T, file string, l look) {
	t.Helper()
	b.call(t, "Emulation.setDeviceMetricsOverride",
		object{"width": l.width, "height": 844, "deviceScaleFactor": 2, "mobile": l.width < 600}, nil)
	b.call(t, "Emulation.setEmulatedMedia",
		object{"features": []object{{"name": "prefers-color-scheme", "value": l.scheme}}}, nil)
	b.loaded = nil
	address := (&url.URL{Scheme: "file", Path: file}).String()
	b.call(t, "Page.navigate", object{"url": address}, nil)
	for {
		m := b.receive(t)
		if m.Method == "Page.loadEventFired" {
			break
		}
	}
	if got := strings.Join(b.loaded, " "); got != address {
		t.Errorf("got requests for %s, want one for %s", got, address)
	}
}

func (b *browser) measure(t *testing.T) (m measurement) {
	t.Helper()
	var answer struct {
		Result           struct{ Value *measurement }
		ExceptionDetails any
	}
	answer.Result.Value = &m
	b.call(t, "Runtime.evaluate", object{"expression": measureJS, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		t.Fatalf("got the exception %v", answer.ExceptionDetails)
	}
	return m
}

// shoot takes a picture of the whole page, for people.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	var picture struct{ Data string }
	b.call(t, "Page.captureScreenshot", object{"captureBeyondViewport": true}, &picture)
	data, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A message is an answer or an event. Messages are JSON with a zero byte after
// each.
type message struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  *struct{ Message string }
	Params struct {
		Request struct{ URL string }
	}
}

func (b *browser) send(method string, params object) error {
	b.calls++
	request := object{"id": b.calls, "method": method, "params": params}
	if params == nil {
		delete(request, "params")
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	data, err := json.Marshal(request)
	if err != nil {
		return err
	}
	_, err = b.in.Write(append(data, 0))
	return err
}

// call sends a command and waits for its result.
func (b *browser) call(t *testing.T, method string, params object, result any) {
	t.Helper()
	if err := b.send(method, params); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	m := b.receive(t)
	for m.ID != b.calls {
		m = b.receive(t)
	}
	if m.Error != nil {
		t.Fatalf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

func (b *browser) receive(t *testing.T) (m message) {
	t.Helper()
	data, err := b.out.ReadBytes(0)
	if err != nil {
		t.Fatalf("the browser went away, or took too long: %v", err)
	}
	if err := json.Unmarshal(bytes.TrimSuffix(data, []byte{0}), &m); err != nil {
		t.Fatal(err)
	}
	if m.Method == "Network.requestWillBeSent" {
		b.loaded = append(b.loaded, m.Params.Request.URL)
	}
	return m
}
