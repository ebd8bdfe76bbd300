// Example shows what a fleet is good for: some processes send requests to a server
// that now and then asks for a wait, first each for itself, and then as a fleet. It
// prints how many requests the server had to refuse, and ends after some 10 seconds.
//
//	go run ./example
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/redisretry"
)

const (
	processes = 20
	pause     = 100 * time.Millisecond // between the requests of a process
	lasts     = 4 * time.Second

	allowed = 50 // requests, then the server says wait
	wait    = time.Second
)

func main() {
	run := compare
	if len(os.Args) == 3 { // as this program starts itself
		run = func() error { return send(os.Args[1], os.Args[2]) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compare() error {
	addr, stop, err := startRedis()
	if errors.Is(err, exec.ErrNotFound) {
		fmt.Println("This needs redis-server on PATH. Debian, Ubuntu: apt-get install redis-server. macOS: brew install redis.")
		return nil
	}
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("%d processes send a request each %v. After %d requests the server says wait, for %v.\n\n", processes, pause, allowed, wait)
	for _, c := range []struct{ how, redis string }{{"each for itself", ""}, {"as a fleet", addr}} {
		served, refused, err := measure(c.redis)
		if err != nil {
			return err
		}
		fmt.Printf("%-16s %4d requests served, %3d refused\n", c.how, served, refused)
	}
	return nil
}

// measure starts the processes, and returns what the server got from them.
func measure(redisAddr string) (served, refused int, err error) {
	l := new(limiter)
	server := httptest.NewServer(l)
	defer server.Close()
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	var running []*exec.Cmd
	for range processes {
		child := exec.Command(self, server.URL, redisAddr)
		child.Stderr = os.Stderr
		if err = child.Start(); err != nil {
			break
		}
		running = append(running, child)
	}
	for _, child := range running {
		err = errors.Join(err, child.Wait())
	}
	return l.served, l.refused, err
}

// A limiter serves so many requests, then none for a while.
type limiter struct {
	mu              sync.Mutex
	quota           int
	until           time.Time
	served, refused int
}

func (l *limiter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.quota == 0 && now.After(l.until) {
		l.quota = allowed
	}
	if l.quota > 0 {
		if l.quota--; l.quota == 0 {
			l.until = now.Add(wait)
		}
		l.served++
		return
	}
	l.refused++
	w.Header().Set("Retry-After", fmt.Sprint(int(l.until.Sub(now)/time.Second)+1))
	w.WriteHeader(http.StatusTooManyRequests)
}

// send is one of the processes.
func send(server, redisAddr string) error {
	cooldown := new(restyretry.Cooldown)
	if redisAddr != "" {
		client := redis.NewClient(&redis.Options{Addr: redisAddr})
		defer client.Close()
		fleet, err := redisretry.Join(client, "example")
		if err != nil {
			return err
		}
		defer fleet.Close()
		fleet.Cooldown(cooldown)
	}
	client := resty.New().SetLogger(silent{})
	if _, err := restyretry.Install(client, func(o *restyretry.Options) { o.Cooldown = cooldown }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(pause) {
		_, _ = client.R().SetContext(ctx).Get(server)
	}
	return nil
}

// silent keeps Resty from logging each response that is no success.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// startRedis starts a redis-server on a free port of this machine.
func startRedis() (addr string, stop func(), err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return addr, stop, nil
}
