module github.com/restyretry/restyretry/examples/breaker

go 1.25

require (
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/go-resty/resty/v2 v2.17.2
	github.com/restyretry/restyretry v0.0.0
)

require (
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	golang.org/x/net v0.43.0 // indirect
)

replace github.com/restyretry/restyretry => ../..
