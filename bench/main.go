// Bench compares restyretry with what one would use instead: the same work for
// every peer, in one run, checked on every operation. See README.md.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"
)

// An effort says how much of everything is done.
type effort struct {
	quick                        bool
	cost, wire, memory, loopback plan
	waiting                      int
	wait                         time.Duration
	upload                       int64
	uploads, leaks               int
}

// shortBatch is short beside the time between two garbage collections, which is
// some milliseconds. With batches of 1 ms, of which every fifth or so meets one,
// two clients of the same kind differ by up to 30 % in a block.
const shortBatch = 200 * time.Microsecond

var fullEffort = effort{
	cost:     plan{batch: shortBatch, blocks: 60, block: 100 * time.Millisecond},
	wire:     plan{blocks: 60, block: 250 * time.Millisecond},
	memory:   plan{batch: shortBatch, blocks: 30, block: 150 * time.Millisecond},
	loopback: plan{batch: 3 * time.Millisecond, blocks: 20, block: 350 * time.Millisecond},
	waiting:  10_000, wait: 2 * time.Second,
	upload: 256 << 20, uploads: 20, leaks: 200,
}

var quickEffort = effort{
	quick:    true,
	cost:     plan{batch: shortBatch, blocks: 6, block: 40 * time.Millisecond},
	wire:     plan{blocks: 6, block: 40 * time.Millisecond},
	memory:   plan{batch: shortBatch, blocks: 6, block: 20 * time.Millisecond},
	loopback: plan{batch: time.Millisecond / 2, blocks: 6, block: 20 * time.Millisecond},
	waiting:  1000, wait: 400 * time.Millisecond,
	upload: 32 << 20, uploads: 1, leaks: 20,
}

// A part of the run makes one section.
type part struct {
	id  string
	run func(effort) (section, error)
}

// parts are all there is to run, in the order of the report.
func parts() []part {
	all := []part{{"cost", costSection}, {"wire", wireSection}}
	for _, s := range scenarios {
		all = append(all, part{s.id, s.section})
	}
	return append(all, part{"waiting", waitingSection}, part{"upload", uploadSection},
		part{"early", earlySection}, part{"leaks", leakSection})
}

// measurements are what the parts measure in processes of their own, by name.
func (e effort) measurements() map[string]measurement {
	all := map[string]measurement{}
	for i, c := range costs {
		all[nth("cost", i)] = measurement{c.cast(inMemory), e.cost}
	}
	for i, c := range wires {
		all[nth("wire", i)] = measurement{c.cast(loopback), e.wire}
	}
	for _, s := range scenarios {
		all[s.id+" in memory"] = measurement{s.cast(inMemory), e.memory}
		all[s.id+" over loopback"] = measurement{s.cast(loopback), e.loopback}
	}
	return all
}

func ids() (list []string) {
	for _, p := range parts() {
		list = append(list, p.id)
	}
	return list
}

func main() {
	log.SetFlags(0)
	quick := flag.Bool("quick", false, "a look in about a minute; writes nothing")
	only := flag.String("only", "", "the parts to run, separated by commas, of "+strings.Join(ids(), " ")+"; writes nothing")
	name := flag.String("block", "", "a measurement, to run one block of it; for the processes that the run starts")
	flag.Parse()
	e := fullEffort
	if *quick {
		e = quickEffort
	}
	var err error
	if *name != "" {
		err = e.writeBlock(*name, os.Stdout)
	} else {
		err = e.run(*only)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run measures, prints the report, and writes it to README.md if it is a whole
// one.
func (e effort) run(only string) error {
	wanted, err := choose(only)
	if err != nil {
		return err
	}
	start, before := time.Now(), load()
	var sections []section
	for _, p := range wanted {
		log.Printf("%3.0f s: %s", time.Since(start).Seconds(), p.id)
		s, err := p.run(e)
		if err != nil {
			return fmt.Errorf("%s: %w", p.id, err)
		}
		s.id = p.id
		sections = append(sections, s)
	}
	text := document(sections, machine(start, before))
	fmt.Print(text)
	if e.quick || only != "" {
		return nil
	}
	return write(".", text, sections)
}

// choose finds the parts that are named, all if none is.
func choose(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	var wanted []part
	for id := range strings.SplitSeq(only, ",") {
		i := slices.Index(ids(), id)
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q; there are %s", id, strings.Join(ids(), " "))
		}
		wanted = append(wanted, parts()[i])
	}
	return wanted, nil
}
