// Storm simulates many clients and a server in an outage, and shows what their
// retries do to it. The strategies and budgets are those of the package; time
// is virtual. The same seed prints the same tables.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.clients, "clients", 100_000, "how many clients")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of all randomness")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Second, "time an attempt may take")
	flag.StringVar(&o.charts, "charts", "", "directory to write one SVG chart per scenario to")
	quick := flag.Bool("quick", false, "1,000 clients")
	flag.Parse()
	if *quick {
		o.clients = 1000
	}
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

type options struct {
	clients int
	seed    uint64
	timeout time.Duration
	charts  string
}

func run(w io.Writer, o options) error {
	if o.clients < 1 || o.clients > 10_000_000 {
		return fmt.Errorf("clients is %d, not from 1 to 10,000,000", o.clients)
	}
	if o.timeout <= latency {
		return fmt.Errorf("timeout is %v, not more than the latency, %v", o.timeout, latency)
	}
	crowd := newCrowd(o.clients, anywhere(o.seed))
	fmt.Fprintf(w, "%d clients, a request each every %v, attempts time out after %v, seed %d.\n\n",
		o.clients, period, o.timeout, o.seed)
	for _, s := range scenarios(o.timeout) {
		var results []result
		for _, p := range policies() {
			r, err := simulate(s, p, crowd, o.seed)
			if err != nil {
				return err
			}
			results = append(results, r)
		}
		table(w, results)
		if o.charts == "" {
			continue
		}
		if err := chart(o.charts, results); err != nil {
			return err
		}
	}
	return nil
}
