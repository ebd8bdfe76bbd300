package restyretry_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/restyretry/restyretry"
)

// While a request is held, callbacks are registered on its client. Resty's locks
// are free meanwhile, so other requests of the client go on.
func TestAHeldRequestDoesNotStopItsClient(t *testing.T) {
	const hold = 500 * time.Millisecond
	for _, tt := range []struct {
		name string
		do   func(c *resty.Client, url string)
	}{
		{"OnBeforeRequest", func(c *resty.Client, _ string) {
			c.OnBeforeRequest(func(*resty.Client, *resty.Request) error { return nil })
		}},
		{"OnAfterResponse", func(c *resty.Client, _ string) {
			c.OnAfterResponse(func(*resty.Client, *resty.Response) error { return nil })
		}},
		{"SetDigestAuth", func(c *resty.Client, url string) {
			_, _ = c.R().SetDigestAuth("user", "secret").Get(url)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cold, free := httptest.NewServer(http.HandlerFunc(ok)), httptest.NewServer(http.HandlerFunc(ok))
			defer cold.Close()
			defer free.Close()
			c := resty.New().SetLogger(quiet{})
			cooldown := new(restyretry.Cooldown)
			install(t, c, withCooldown(cooldown))
			cooldown.Hold(cold.URL, hold)
			start := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := c.R().Get(cold.URL); err != nil || time.Since(start) < hold {
					t.Errorf("got %v after %v, want it held for %v", err, time.Since(start), hold)
				}
			})
			time.Sleep(50 * time.Millisecond)
			begin := time.Now()
			tt.do(c, free.URL)
			if _, err := c.R().Get(free.URL); err != nil || time.Since(begin) > hold/2 {
				t.Errorf("got %v after %v, want another host's answer at once", err, time.Since(begin))
			}
			all.Wait()
		})
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestTimeHasNoHoldInIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(ok))
	defer server.Close()
	c := resty.New().SetLogger(quiet{})
	cooldown := new(restyretry.Cooldown)
	install(t, c, withCooldown(cooldown))
	cooldown.Hold(server.URL, 500*time.Millisecond)
	start := time.Now()
	resp, err := c.R().EnableTrace().Get(server.URL)
	if err != nil || time.Since(start) < 500*time.Millisecond {
		t.Fatalf("got %v after %v", err, time.Since(start))
	}
	trace, a := resp.Request.TraceInfo(), restyretry.History(resp.Request)[0]
	if resp.Time() > 250*time.Millisecond || trace.TotalTime > 250*time.Millisecond || a.Took > 250*time.Millisecond {
		t.Errorf("got %v, by the trace %v, by History %v, want no hold in it", resp.Time(), trace.TotalTime, a.Took)
	}
	if a.Held < 500*time.Millisecond {
		t.Errorf("got held for %v, want 500ms", a.Held)
	}
}

// 20 requests come at a time to nginx, which lets 10 pass, refuses the others by
// 429 and says to wait for a second.
func TestNginxLimitsRequests(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t)
	var asked [2]int
	for i, cooldown := range []*restyretry.Cooldown{nil, new(restyretry.Cooldown)} {
		c := resty.New().SetLogger(quiet{})
		var refused atomic.Int64
		p := install(t, c, withCooldown(cooldown), func(o *restyretry.Options) {
			o.Attempts = 20
			o.Hooks = append(o.Hooks, restyretry.Hooks{OnRetry: func(restyretry.Attempt) { refused.Add(1) }})
		})
		var all sync.WaitGroup
		for n := range 20 {
			time.Sleep(5 * time.Millisecond)
			all.Go(func() {
				if resp, err := c.R().Get(nginx); err != nil || resp.StatusCode() != 200 {
					t.Errorf("request %d: got %v, %v", n, resp, err)
				}
			})
		}
		all.Wait()
		asked[i] = int(p.Stats().Attempts)
		t.Logf("with a Cooldown %t: %d requests, of them %d refused, %v", cooldown != nil, asked[i], refused.Load(), p.Stats())
	}
	if asked[1] >= asked[0] {
		t.Errorf("got %d requests with a Cooldown and %d without, want fewer", asked[1], asked[0])
	}
}

// startNginx runs nginx with limit_req and returns its URL.
func startNginx(t *testing.T) string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("there is no nginx on this machine: apt-get install nginx-light")
	}
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	config := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr crit;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	map $status $retry_after { 429 1; }
	limit_req_zone $binary_remote_addr zone=all:1m rate=20r/s;
	limit_req_status 429;
	server {
		listen %[2]s;
		location / {
			limit_req zone=all burst=9 nodelay;
			add_header Retry-After $retry_after always;
			empty_gif;
		}
	}
}`, dir, address)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var output strings.Builder
	command := exec.CommandContext(ctx, path, "-p", dir, "-c", file)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
	})
	for range 100 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return "http://" + address
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	_ = command.Wait()
	t.Skipf("nginx does not start: %s", output.String())
	return ""
}
