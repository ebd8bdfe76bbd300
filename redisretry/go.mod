module github.com/restyretry/restyretry/redisretry

go 1.25

replace github.com/restyretry/restyretry => ../

require (
	github.com/go-resty/resty/v2 v2.17.2
	github.com/redis/go-redis/v9 v9.22.0
	github.com/restyretry/restyretry v0.0.0-00010101000000-000000000000
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	golang.org/x/net v0.43.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
)
