// Package restyretry adds retries to an existing [Resty] v2 client. One call
// installs a policy, any request can override it through its context, and the
// last response comes back as it is.
//
//	client := resty.New()
//	if _, err := restyretry.Install(client); err != nil {
//		log.Fatal(err)
//	}
//	resp, err := client.R().Get("https://api.example.com/report")
//	fmt.Println(resp, err)
//
// [Install] drives Resty's own retry loop. It does not wrap the transport, so
// proxies, TLS settings and mocks work as before. It must come before the first
// request, and the client's retry settings belong to the plugin from then on.
//
// # Defaults
//
//   - 3 attempts, including the first.
//   - The statuses 408, 425, 429 and every 5xx but 501 are retried, and so are
//     errors of sending and receiving that may go away by themselves ([Transient]).
//   - GET, HEAD, OPTIONS, TRACE, PUT, DELETE and QUERY may always be repeated.
//     Another method is repeated only if the server has not processed it
//     (nothing was sent, or the status is one of [Options].Refused), will know
//     it again by its Idempotency-Key, or asks for it.
//   - The waits are random, up to 0.5 s and then up to 1 s: at most 1.5 s in all.
//     If the server says how long to wait, that is the wait, up to a minute.
//   - There is no time limit. [Options].AttemptTimeout limits one attempt,
//     [Options].MaxElapsed and the context's deadline all of them. Resty's
//     SetTimeout limits each attempt.
//
// # Options and overrides
//
// Functions change the [Options]: in Install, in [Plugin.Update] for all requests
// from then on, and in [With] for the requests of one context.
//
//	plugin, err := restyretry.Install(client, func(o *restyretry.Options) {
//		o.Attempts = 5
//		o.Wait = restyretry.FullJitter(restyretry.Exponential(time.Second, time.Minute))
//		o.Statuses = append(o.Statuses, http.StatusConflict)
//	})
//
//	ctx = restyretry.With(ctx, restyretry.Off) // no retries for these requests
//	resp, err := client.R().SetContext(ctx).Get("/report")
//
// An invalid option is an error of Install, of Update, or of the request, which is
// not sent then.
//
// # Waits
//
// A [Strategy] says how long to wait after each attempt: [Constant], [Linear],
// [Exponential], [Fibonacci], [List], [Random], [Decorrelated], or a function of
// your own; [FullJitter], [EqualJitter] and [AddJitter] make another strategy
// random. A wait that the server asks for (Retry-After and its relatives) takes
// its place if the next attempt goes to the same host. If it is longer than
// [Options].MaxServerWait, the request ends. A wait that would end after the
// deadline does not begin.
//
// # Hooks
//
// [Hooks] see each [Attempt]. OnAttempt may change the request, for this attempt
// only.
//
//	o.Hooks = append(o.Hooks, restyretry.Hooks{
//		OnAttempt: func(a restyretry.Attempt) error {
//			a.Request.SetAuthToken(token())
//			return nil
//		},
//		OnDone: func(a restyretry.Attempt) {
//			log.Printf("%s %s: %d attempts, %s", a.Method, a.URL, a.Number, a.Reason)
//		},
//	})
//
// [History] returns the attempts of a request, and [Number] the number of the
// attempt that a context belongs to. A [Reason] says why an attempt was followed
// by another, or why it was not. [Plugin.Stats] counts all requests.
//
// # URLs
//
// [URLs], [BaseURLs], [Rotate] or a [TargetFunc] in [Options].URL send attempts to
// several hosts:
//
//	o.URL = restyretry.BaseURLs("https://east.example.com", "https://west.example.com")
//
// All of them get the credentials of the request. A request with credentials is
// never moved from https to http; see [Target] for which these are.
//
// # Budgets
//
// Three attempts are three times the load for a server that is down. A [Budget]
// limits the retries of all requests that share it:
//
//	budget := restyretry.NewBudget(0.1, 0) // one retry for ten requests
//	o.Budget = budget
//
// # Cooldowns
//
// A [Cooldown] is shared by requests as well: when a host tells one of them to
// wait, the others to that host wait too, first attempts included.
//
//	o.Cooldown = &restyretry.Cooldown{}
//
// # Responses and errors
//
// A status is not an error: after the last attempt its response comes back, with
// a nil error. With [Options].RaiseForStatus a [*StatusError] comes with it. An
// error of sending or receiving comes back as Resty has it. If the context is
// cancelled while a retry was wanted, the error wraps the context's, and the last
// response comes with it. No limit (attempts, budget, a deadline that is too near)
// replaces the outcome of the last attempt by an error of its own.
//
// The response is nil if an attempt could not be sent: an invalid option, a bad
// URL, a middleware or a rate limiter that refused. Such a request is not retried.
//
// # Bodies
//
// Every attempt sends the same bytes. Bytes, strings, buffers, files and whatever
// else implements [io.ReaderAt] and [io.Seeker] are read where they are. What
// Resty makes itself (forms, multipart data, encoded values) is sent again as it
// was. Any other reader is recorded while it is sent, up to [Options].MaxReplay; a
// longer one is sent once and not retried. A body that implements [io.Closer] is
// closed when the request is over.
//
// # Limits
//
// Attempts, Methods, Unless, MaxElapsed, Budget and the deadline limit every retry,
// whoever asked for it. The middlewares of the client run for every attempt on the same
// request, so they should set and not add. URLs in attempts, logs and
// errors of attempts that were sent have no password and no query values; Resty's own
// log lines have the query, and errors from before the sending may have it.
//
// The repository has recipes, among them for token refresh, resumed downloads and
// circuit breakers, and pages on budgets, on cooldowns, on testing and on migrating
// from aiohttp_retry and from Resty's own retries.
//
// [Resty]: https://github.com/go-resty/resty
package restyretry
