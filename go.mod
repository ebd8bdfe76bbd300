module github.com/restyretry/restyretry

go 1.25

require (
	github.com/go-resty/resty/v2 v2.17.2
	github.com/jarcoal/httpmock v1.4.1
)

require golang.org/x/net v0.43.0 // indirect
