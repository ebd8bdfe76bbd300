package redisretry_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/redisretry"
)

const name = "orders"

// A member is what a process of a fleet has: a client with a Cooldown and a
// Budget, and the fleet.
type member struct {
	*redisretry.Fleet
	cooldown *restyretry.Cooldown
	client   *resty.Client
	plugin   *restyretry.Plugin
}

// join makes a member of a fleet. Its requests go to server, and are not retried.
func join(t *testing.T, client redis.UniversalClient, server roundTrip) *member {
	t.Helper()
	fleet, err := redisretry.Join(client, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.Close)
	m := newMember(t, server)
	m.Fleet = fleet
	fleet.Cooldown(m.cooldown)
	return m
}

// newMember makes a member that is in no fleet yet.
func newMember(t *testing.T, server roundTrip) *member {
	t.Helper()
	m := &member{cooldown: new(restyretry.Cooldown)}
	m.client = resty.NewWithClient(&http.Client{Transport: server}).SetLogger(silent{})
	plugin, err := restyretry.Install(m.client, restyretry.Off, func(o *restyretry.Options) {
		o.Cooldown = m.cooldown
		o.MaxServerWait = time.Millisecond // refused at once
	})
	if err != nil {
		t.Fatal(err)
	}
	m.plugin = plugin
	return m
}

func joined(t *testing.T, client redis.UniversalClient) *member {
	t.Helper()
	m := join(t, client, limiting)
	eventually(t, 10*time.Second, "the member hears the others", m.Connected)
	return m
}

// refused has the member told by host to wait.
func (m *member) refused(t *testing.T, host string, wait int) {
	t.Helper()
	if _, err := m.client.R().Get(fmt.Sprintf("http://%s/?wait=%d", host, wait)); err != nil {
		t.Fatal(err)
	}
}

func (m *member) left(host string) time.Duration { return m.cooldown.Left("http://" + host) }

func (m *member) knows(host string) func() bool { return func() bool { return m.left(host) > 0 } }

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(hr *http.Request) (*http.Response, error) { return r(hr) }

// limiting answers 429 where the URL has ?wait=seconds, else 200.
func limiting(hr *http.Request) (*http.Response, error) {
	if wait := hr.URL.Query().Get("wait"); wait != "" {
		return answer(hr, http.StatusTooManyRequests, wait), nil
	}
	return answer(hr, http.StatusOK, ""), nil
}

func answer(hr *http.Request, status int, wait string) *http.Response {
	header := http.Header{}
	if wait != "" {
		header.Set("Retry-After", wait)
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: http.NoBody, Request: hr,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

func TestOneIsToldAndAllWait(t *testing.T) {
	s := startRedis(t)
	first, second := joined(t, s.client()), joined(t, s.client())
	first.refused(t, "api.test", 60)
	eventually(t, time.Second, "the other member waits too", second.knows("api.test"))
	if got := second.left("api.test"); got < 58*time.Second || got > 60*time.Second {
		t.Errorf("got %v left, want 58 to 60 s", got)
	}
}
