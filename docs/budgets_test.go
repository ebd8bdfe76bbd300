package docs

import (
	"fmt"
	"log"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restyretry/restyretry"
)

func TestABudgetThatClientsShare(t *testing.T) {
	for _, test := range []struct {
		budget *restyretry.Budget
		want   int
	}{
		{nil, 30_000},
		{restyretry.NewBudget(0.2, 0), 12_000},
		{restyretry.NewBudget(0.1, 0), 11_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			respond, requests := answering(503)
			client := newClient(t, respond, func(o *restyretry.Options) {
				o.Wait, o.Budget = restyretry.Constant(0), test.budget
			})
			for range 10_000 {
				if _, err := client.R().Get("/"); err != nil {
					t.Fatal(err)
				}
			}
			if *requests != test.want {
				t.Errorf("got %d attempts, want %d", *requests, test.want)
			}
		})
	}
}

func TestOneBudgetForTwoClients(t *testing.T) {
	respond, requests := answering(503)
	first, second := respond.New(), respond.New()
	// block: budgets.md
	budget := restyretry.NewBudget(0.05, 0) // one for all clients that speak to the same server
	limited := func(o *restyretry.Options) {
		o.Budget = budget
		o.AttemptTimeout = 2 * time.Second
	}
	if _, err := restyretry.Install(first, limited); err != nil {
		log.Fatal(err)
	}
	if _, err := restyretry.Install(second, limited); err != nil {
		log.Fatal(err)
	}
	// end of block
	resp, err := first.R().Get("/")
	if err != nil || summary(resp.Request) != "1 503 budget" || *requests != 1 {
		t.Errorf("got %v, %v, want one attempt, reason budget", resp, err)
	}
}

func TestARetryOfAnotherKindOfClient(t *testing.T) {
	budget := restyretry.NewBudget(1, 0)
	// block: budgets.md
	budget.Request(time.Now()) // the first attempt of a request has ended
	if budget.Retry(time.Now()) {
		fmt.Println("send it again")
	}
	// end of block
	if budget.Retry(time.Now()) {
		t.Error("got a second retry for one request, want none")
	}
}
