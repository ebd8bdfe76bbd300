package redisretry

// The scripts, as a process with other habits may run them.
var (
	AnnounceScript = announceScript
	CatchUpScript  = catchUpScript
	BudgetScript   = budgetScript
)
