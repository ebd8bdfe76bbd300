package main

import (
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestMetricsPageSaysWhatHappened(t *testing.T) {
	lab, err := newLab()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.close()
	lab.load(200, time.Minute)
	page, families := parsed(t, lab)

	stats := lab.plugin.Stats()
	if stats.Retries == 0 || len(stats.GivenUp) == 0 {
		t.Fatalf("got %+v, want retries and requests that were given up", stats)
	}
	for _, test := range []struct {
		name string
		got  float64
		want uint64
	}{
		{"attempts", sum(families["http_client_request_duration_seconds"], count), stats.Attempts},
		{"attempts of requests", sum(families["restyretry_request_attempts"], total), stats.Attempts},
		{"requests", sum(families["restyretry_request_attempts"], count), stats.Requests},
		{"retries", sum(families["restyretry_retries_total"], value), stats.Retries},
		{"waits", sum(families["restyretry_retry_wait_seconds"], count), stats.Retries},
		{"attempts by the collector", sum(families["resty_attempts_total"], value), stats.Attempts},
		{"requests by the collector", sum(families["resty_requests_total"], value), stats.Requests},
	} {
		if test.got != float64(test.want) {
			t.Errorf("got %v %s, want %d", test.got, test.name, test.want)
		}
	}
	if got, want := sum(families["restyretry_retry_wait_seconds"], total), stats.Waited.Seconds(); math.Abs(got-want) > 1e-6 {
		t.Errorf("got %v seconds of waits, want %v", got, want)
	}
	for _, name := range []string{"restyretry_giveups_total", "resty_given_up_total"} {
		got := make(map[string]float64)
		for _, m := range families[name].GetMetric() {
			got[label(m, "reason")] += value(m)
		}
		want := make(map[string]float64)
		for reason, n := range stats.GivenUp {
			want[string(reason)] = float64(n)
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v in %s, want %v", got, name, want)
		}
	}
	if strings.Contains(page, "/orders") {
		t.Errorf("got\n%s\nwant no URL in it", page)
	}
}

// parsed is the page as Prometheus's own parser reads it.
func parsed(t *testing.T, lab *lab) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	page, err := lab.metrics()
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return page, families
}

// sum adds up what of says of every time series of a metric.
func sum(family *dto.MetricFamily, of func(*dto.Metric) float64) (s float64) {
	for _, m := range family.GetMetric() {
		s += of(m)
	}
	return s
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() }
func count(m *dto.Metric) float64 { return float64(m.GetHistogram().GetSampleCount()) }
func total(m *dto.Metric) float64 { return m.GetHistogram().GetSampleSum() }

// label returns the value of the label whose name ends so.
func label(m *dto.Metric, suffix string) string {
	for _, l := range m.GetLabel() {
		if strings.HasSuffix(l.GetName(), suffix) {
			return l.GetValue()
		}
	}
	return ""
}

func TestProgramShowsMetricsAndATrace(t *testing.T) {
	var out strings.Builder
	begin := time.Now()
	if err := run(&out, 100, time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("got %v, want less than 6 s", took)
	}
	_, tree, _ := strings.Cut(out.String(), "2. One request")
	tree = regexp.MustCompile(`at \S+ for \S+|http://\S+?/`).ReplaceAllString(tree, "…")
	want := ` as a trace: caller, attempts, server

   show the story  …  
      GET  …  url.full=…story?token=REDACTED http.response.status_code=503 error.type=503 restyretry.reason=status
         GET /story  …  http.response.status_code=503
         · restyretry.wait  restyretry.reason=status restyretry.wait=0.05
      GET  …  url.full=…story?token=REDACTED http.request.resend_count=1 error.type=timeout restyretry.reason=error
         GET /story  …  
         · restyretry.wait  restyretry.reason=error restyretry.wait=0.1
      GET  …  url.full=…story?token=REDACTED http.request.resend_count=2 http.response.status_code=200 restyretry.reason=succeeded
         GET /story  …  http.response.status_code=200
`
	if tree != want {
		t.Errorf("got%s\nwant%s", tree, want)
	}
	for _, metric := range []string{"restyretry_retries_total{", "restyretry_giveups_total{", "resty_attempts_total "} {
		if !strings.Contains(out.String(), metric) {
			t.Errorf("got\n%s\nwant %s in it", out.String(), metric)
		}
	}
}

// The README of otelretry shows the collector that runs here.
func TestReadmeHasTheCollector(t *testing.T) {
	source, err := os.ReadFile("collector.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../otelretry/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), ")\n\n") // after the imports
	if !strings.Contains(string(readme), code) {
		t.Errorf("got a README without\n%s", code)
	}
	lines := slices.DeleteFunc(strings.Split(code, "\n"), func(l string) bool { return l == "" })
	if got, want := len(lines), 20; got >= want {
		t.Errorf("got %d lines, want less than %d", got, want)
	}
}
