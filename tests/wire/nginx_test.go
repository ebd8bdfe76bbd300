package wire

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/harness"
)

// 20 requests come to nginx, which lets about 10 pass, refuses the others by 429
// and says to wait for 500 ms.
func TestACooldownSavesNginxTheRequestsThatItWouldRefuse(t *testing.T) {
	t.Parallel()
	transport := startNginx(t)
	ask := func(path string, cooldown *restyretry.Cooldown) restyretry.Stats {
		c := harness.Wire(t, harness.Base, harness.Cooldown(cooldown), harness.Attempts(20))
		c.SetTransport(transport)
		var all sync.WaitGroup
		for n := range 20 {
			time.Sleep(10 * time.Millisecond)
			all.Go(func() {
				if resp, err := c.R().Get(path); err != nil || resp.StatusCode() != 200 {
					t.Errorf("%s, request %d: got %v, %v", path, n, resp, err)
				}
			})
		}
		all.Wait()
		return c.Plugin.Stats()
	}
	var without, with restyretry.Stats
	var both sync.WaitGroup
	both.Go(func() { without = ask("/without", nil) })
	both.Go(func() { with = ask("/with", new(restyretry.Cooldown)) })
	both.Wait()
	if without.Retries < 4 {
		t.Skipf("this machine is too slow to be refused: %v", without)
	}
	if with.Attempts >= without.Attempts {
		t.Errorf("got %d requests with a Cooldown (%v), want fewer than without (%v)", with.Attempts, with, without)
	}
}

// startNginx runs an nginx that limits the requests to each path, and returns a
// transport to it.
func startNginx(t *testing.T) *http.Transport {
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("there is no nginx on this machine: apt-get install nginx-light")
	}
	dir := t.TempDir()
	config := strings.ReplaceAll(`
		daemon off;
		master_process off;
		pid DIR/pid;
		error_log stderr crit;
		events {}
		http {
			access_log off;
			client_body_temp_path DIR/body;
			proxy_temp_path DIR/proxy;
			fastcgi_temp_path DIR/fastcgi;
			uwsgi_temp_path DIR/uwsgi;
			scgi_temp_path DIR/scgi;
			map $status $wait { 429 500; }
			limit_req_zone $uri zone=all:1m rate=20r/s;
			limit_req_status 429;
			server {
				listen unix:DIR/socket;
				location / {
					limit_req zone=all burst=9 nodelay;
					add_header Retry-After-Ms $wait always;
					empty_gif;
				}
			}
		}`, "DIR", dir)
	file, socket := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, path, "-p", dir, "-c", file)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { cancel(); _ = command.Wait() }
	t.Cleanup(stop)
	for range 500 {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}}
			t.Cleanup(transport.CloseIdleConnections)
			return transport
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	t.Skipf("nginx does not start: %s", output.String())
	return nil
}
