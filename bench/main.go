// Bench compares restyretry with what one would use instead: the same work for
// every peer, in one run, checked on every operation. See README.md.
package main

import (
	"flag"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	quick := flag.Bool("quick", false, "a look in half a minute; writes nothing")
	only := flag.String("only", "", "the parts to run, separated by commas, of "+strings.Join(ids(), " ")+"; writes nothing")
	flag.Parse()
	if err := run(*quick, *only); err != nil {
		log.Fatal(err)
	}
}

func ids() (list []string) {
	for _, p := range parts() {
		list = append(list, p.id)
	}
	return list
}

// run measures, prints the report, and writes it to README.md if it is a whole
// one.
func run(quick bool, only string) error {
	wanted, err := choose(only)
	if err != nil {
		return err
	}
	e := fullEffort
	if quick {
		e = quickEffort
	}
	start := time.Now()
	var sections []section
	for _, p := range wanted {
		log.Printf("%3.0f s: %s", time.Since(start).Seconds(), p.id)
		s, err := p.run(e)
		if err != nil {
			return fmt.Errorf("%s: %w", p.id, err)
		}
		sections = append(sections, s)
	}
	text := report(sections, machine(time.Since(start)))
	fmt.Print(text)
	if quick || only != "" {
		return nil
	}
	return writeReport(".", text, sections)
}

// choose finds the parts that are named, all if none is.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	var wanted []part
	for _, id := range strings.Split(only, ",") {
		i := slices.Index(ids(), id)
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q; there are %s", id, strings.Join(ids(), " "))
		}
		wanted = append(wanted, parts()[i])
	}
	return wanted, nil
}
