module github.com/restyretry/restyretry/timeline

go 1.25

replace github.com/restyretry/restyretry => ../

require (
	github.com/go-resty/resty/v2 v2.17.2
	github.com/restyretry/restyretry v0.0.0-00010101000000-000000000000
)

require golang.org/x/net v0.43.0 // indirect
