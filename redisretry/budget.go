package redisretry

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/restyretry/restyretry"
)

const (
	leaseLasts  = 10 * time.Second
	reportEvery = time.Second
)

// Budget makes b a part of the fleet's budget of that name. Its ratio then applies to
// the requests of the whole fleet, and its perSecond to all processes together, so
// give every process the same two. Call it once for b, and on one fleet only.
//
// Once a second a process that had requests reports them, and is granted a number
// of retries. Those that wanted some in the second before are granted more, so a
// few processes that have all the failures get what the others do not need. No
// retry waits for Redis. A grant lasts for 10 seconds; then b goes by its own
// counts, as after Close.
//
// Several Budgets of one name are one budget, even in one process. Budget does
// nothing after Close, or if b is nil: then there is no limit to share.
func (f *Fleet) Budget(name string, b *restyretry.Budget) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b == nil || f.isClosed() {
		return
	}
	m := &member{fleet: f, budget: b, key: "restyretry:{" + f.name + "}:budget:" + name}
	m.ratio, m.perSecond = b.Limits()
	b.Report() // what was before is not the fleet's
	f.running.Go(m.run)
}

// A member is one Budget of the fleet.
type member struct {
	fleet     *Fleet
	budget    *restyretry.Budget
	key       string
	ratio     float64
	perSecond int

	leased int64 // what was granted last
	second int64 // when that was, by Redis' clock
}

// run reports every second, at a moment of its own, until Close.
func (m *member) run() {
	defer m.budget.Grant(0, 0) // it goes by itself
	m.fleet.pause(reportEvery, nil)
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		if err := m.report(); err != nil {
			m.leased = 0 // how much of it was counted is not known
			m.fleet.warn(err)
		}
		select {
		case <-ticker.C:
		case <-m.fleet.ctx.Done():
			return
		}
	}
}

// report tells the fleet what b has counted, and gives b what it may do. Counts
// that cannot be told are dropped: when Redis is back they are no longer of the
// last 10 seconds.
func (m *member) report() error {
	requests, retries, refused := m.budget.Report()
	wanted := retries + refused
	if requests+wanted == 0 {
		return nil
	}
	ctx, cancel := m.fleet.command()
	defer cancel()
	answer, err := budgetScript.Run(ctx, m.fleet.client, []string{m.key},
		requests, retries, wanted, strconv.FormatFloat(m.ratio, 'f', -1, 64), m.perSecond,
		rand.Float64(), m.leased, m.second).Int64Slice()
	if err != nil || len(answer) != 2 {
		return err
	}
	m.leased, m.second = answer[0], answer[1]
	// More than this is never right, whatever somebody has written to Redis.
	most := wanted + 10*requests + m.perSecond
	m.budget.Grant(int(min(m.leased, int64(most))), leaseLasts)
	return nil
}
