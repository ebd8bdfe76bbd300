package redisretry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/restyretry/restyretry"
)

// shares tests that two members hear each other, one who comes late hears both,
// and a budget is granted, over clients of that kind.
func shares(t *testing.T, newClient func() redis.UniversalClient) {
	t.Helper()
	first, second := joined(t, newClient()), joined(t, newClient())
	first.refused(t, "api.test", 60)
	second.refused(t, "other.test", 60)
	eventually(t, 2*time.Second, "the second hears the first", second.knows("api.test"))
	eventually(t, 2*time.Second, "the first hears the second", first.knows("other.test"))
	late := joined(t, newClient())
	eventually(t, 2*time.Second, "one who comes late hears the first", late.knows("api.test"))
	eventually(t, 2*time.Second, "one who comes late hears the second", late.knows("other.test"))

	b := restyretry.NewBudget(0, 1) // alone, no 3 retries at once
	first.Budget("payments", b)
	eventually(t, 10*time.Second, "a grant", func() bool {
		now := time.Now()
		b.Request(now)
		return !b.Retry(now) // what it would allow by itself comes back each second
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	var addrs []string
	var nodes []*redisServer
	for range 3 {
		s := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--cluster-port", freePort(t))
		nodes, addrs = append(nodes, s), append(addrs, s.addr)
	}
	for i, s := range nodes {
		s.do("cluster", "addslotsrange", i*16384/3, (i+1)*16384/3-1)
		host, port, _ := net.SplitHostPort(s.addr)
		nodes[0].do("cluster", "meet", host, port, s.clusterPort())
	}
	for _, s := range nodes {
		eventually(t, 30*time.Second, "the cluster is whole", func() bool {
			info := s.do("cluster", "info")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	shares(t, func() redis.UniversalClient {
		c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
		t.Cleanup(func() { _ = c.Close() })
		return c
	})
}

func (s *redisServer) clusterPort() string {
	for i, arg := range s.args {
		if arg == "--cluster-port" {
			return s.args[i+1]
		}
	}
	return ""
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := writeCertificate(t, dir)
	s := startRedis(t, "--port", "0", "--tls-port", "PORT", "--tls-auth-clients", "no",
		"--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"))
	shares(t, func() redis.UniversalClient {
		return s.client(func(o *redis.Options) { o.TLSConfig = &tls.Config{RootCAs: pool, ServerName: "localhost"} })
	})
}

// writeCertificate writes one of its own authority into dir.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return pool
}

func TestValkey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("valkey-server"); err != nil {
		t.Skip("valkey-server is not on PATH: install it to run this test")
	}
	s := startServer(t, "valkey-server")
	shares(t, func() redis.UniversalClient { return s.client() })
}

func TestRESP2(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	shares(t, func() redis.UniversalClient { return s.client(func(o *redis.Options) { o.Protocol = 2 }) })
}

// aclLine returns what the README says a user must be allowed.
func aclLine(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^~restyretry:\* .*$`).FindString(string(readme))
	if line == "" {
		t.Fatal("got no ACL line in the README")
	}
	return strings.Fields(line)
}

func TestACLSuffices(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	s.allow("all", aclLine(t))
	s.do("acl", "log", "reset")
	shares(t, func() redis.UniversalClient { return s.as("all") })
	s.useAll(t, "all")
	eventually(t, 10*time.Second, "a PING", func() bool { return s.calls()["ping"] > 0 })
	if denied := s.denied(); len(denied) > 0 {
		t.Errorf("got the denials %v, want none", denied)
	}
}

// Each command of the line is missed where it is not there.
func TestACLIsExact(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	line := aclLine(t)
	users := map[string]string{}
	for i, word := range line {
		if command, ok := strings.CutPrefix(word, "+"); ok {
			user := "without-" + command
			users[user] = command
			s.allow(user, append(append([]string{}, line[:i]...), line[i+1:]...))
			s.useAll(t, user)
		}
	}
	for user, command := range users {
		eventually(t, 20*time.Second, command+" is missed", func() bool { return s.denied()[user+" "+command] })
	}
}

// allow makes a user who may do what rules say, and nothing else.
func (s *redisServer) allow(user string, rules []string) {
	args := []any{"acl", "setuser", user, "reset", "on", ">secret"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	s.do(args...)
}

func (s *redisServer) as(user string) *redis.Client {
	return s.client(func(o *redis.Options) { o.Username, o.Password, o.Protocol = user, "secret", 3 })
}

// useAll has a user need each command once: there are too many keys, old counts,
// and scripts that are not in memory.
func (s *redisServer) useAll(t *testing.T, user string) {
	t.Helper()
	members := []any{"zadd", coolKey}
	for i := range 1024 {
		members = append(members, time.Now().Add(time.Minute).UnixMilli(), fmt.Sprint("k", i))
	}
	s.do(members...)
	s.do("hset", "restyretry:{"+name+"}:budget:"+user, "1requests", 1)
	s.do("script", "flush")
	m := join(t, s.as(user), limiting)
	m.refused(t, user+".test", 60)
	b := restyretry.NewBudget(0.1, 1)
	m.Budget(user, b)
	b.Request(time.Now())
}

// denied returns what was denied to whom, "user command".
func (s *redisServer) denied() map[string]bool {
	client := s.client()
	defer client.Close()
	entries, err := client.ACLLog(s.t.Context(), 1000).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	denied := map[string]bool{}
	for _, e := range entries {
		denied[e.Username+" "+e.Object] = true
	}
	return denied
}
