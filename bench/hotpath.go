package main

import (
	"net/http"
)

// A hotPath is one line of the hot-path table: our plugin with some feature,
// against one of Resty's own ways to do the same.
type hotPath struct {
	name    string
	script  []int
	body    []byte // a POST, if there is one
	feature feature
	peer    string // whose figure this is; ours if empty
	base    string // what it is compared with
	target  string // what it is meant to cost
}

var hotPaths = []hotPath{
	{name: "Resty v2", script: okay, peer: bareName, base: bareName},
	{name: "Resty's own loop", script: okay, peer: ownName, base: bareName},
	{name: "Resty's own loop, with callbacks that do nothing", script: okay, feature: idle, peer: ownName, base: bareName},
	{name: "restyretry, default", script: okay, base: bareName, target: "+2 allocs, +110 B, +6 %"},
	{name: "Resty's own loop, a context of the user's", script: okay, feature: userContext, peer: ownName, base: bareName},
	{name: "restyretry, a context of the user's", script: okay, feature: userContext, base: bareName},
	{name: "restyretry, options of one request, made once", script: okay, feature: optionsOnce, base: bareName, target: "+3 allocs, +180 B"},
	{name: "restyretry, URL list", script: okay, feature: urlList, base: bareName, target: "+3 allocs, +180 B"},
	{name: "restyretry, hooks", script: okay, feature: hooks, base: bareName, target: "+3 allocs, +200 B"},
	{name: "Resty's own loop, POST 1 KiB", script: okay, body: small, peer: ownName, base: bareName},
	{name: "restyretry, POST 1 KiB", script: okay, body: small, base: bareName},
	{name: "restyretry, one retry", script: retry, base: ownName, target: "+1 alloc, +100 B"},
	{name: "restyretry, one retry, a context of the user's", script: retry, feature: userContext, base: ownName},
}

// variants are the two sides of a comparison. Both send with the same kind of
// context, where the feature is one.
func (h hotPath) variants() ([]variant, func(), error) {
	name := h.peer
	if name == "" {
		name = ourName
	}
	theirs := plain
	if h.feature == userContext {
		theirs = userContext
	}
	return []variant{h.side(h.base, theirs), h.side(name, h.feature)}, func() {}, nil
}

func (h hotPath) side(name string, f feature) variant {
	s := scenario{method: http.MethodGet, body: h.body, script: h.script, feature: f}
	if h.body != nil {
		s.method = http.MethodPost
	}
	p := peerNamed(name)
	p.hooked = int64(len(h.script)) + 1 // OnAttempt each time, OnDone
	if len(h.script) > 1 {
		p.hooked++ // OnRetry
	}
	w := inMemory(h.script...)
	v := s.variant(p, w)
	v.name = name
	return v
}
