package otelretry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/restyretry/restyretry"
	"github.com/restyretry/restyretry/internal/redact"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Attributes for which there is no convention.
const (
	reasonKey   = attribute.Key("restyretry.reason")   // a restyretry.Reason
	waitKey     = attribute.Key("restyretry.wait")     // seconds
	attemptsKey = attribute.Key("restyretry.attempts") // how often a request was sent
)

// other takes the place of a method that the conventions do not know, so that
// a made-up method makes no new time series.
const other = "_OTHER"

var knownMethods = []string{
	http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace, "QUERY",
}

func knownMethod(method string) string {
	if slices.Contains(knownMethods, method) {
		return method
	}
	return other
}

func spanName(method string) string {
	if knownMethod(method) == other {
		return "HTTP"
	}
	return method
}

// requestAttributes are those of a span that are known when it begins, where
// samplers see them.
func requestAttributes(hr *http.Request) []attribute.KeyValue {
	address, port := server(hr.URL)
	method := knownMethod(hr.Method)
	attrs := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(method),
		semconv.ServerAddress(address),
		semconv.ServerPort(port),
		semconv.URLFull(redact.URL(hr.URL)),
	}
	if method == other {
		attrs = append(attrs, semconv.HTTPRequestMethodOriginal(hr.Method))
	}
	if resent := restyretry.Number(hr.Context()) - 1; resent > 0 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(resent))
	}
	return attrs
}

// responseAttributes are those of both the span and the duration that are known
// when an attempt has ended.
func responseAttributes(a restyretry.Attempt) []attribute.KeyValue {
	var attrs []attribute.KeyValue
	if a.Response != nil && a.Response.RawResponse != nil {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(a.StatusCode()))
		if version := protocolVersion(a.Response.RawResponse); version != "" {
			attrs = append(attrs, semconv.NetworkProtocolVersion(version))
		}
	}
	if kind := errorType(a); kind != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(kind))
	}
	return attrs
}

// labels are the attributes of our own metrics.
func labels(a restyretry.Attempt) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(knownMethod(a.Method)),
		reasonKey.String(string(a.Reason)),
	}
}

// spanStatus leaves a success unset, and describes only what the attributes do
// not say.
func spanStatus(a restyretry.Attempt) (codes.Code, string) {
	switch {
	case errorType(a) == "":
		return codes.Unset, ""
	case a.Err == nil:
		return codes.Error, ""
	default:
		return codes.Error, a.Err.Error()
	}
}

// errorType is the class of failure of an attempt, or "": a status of 400 or
// more, "panic", "timeout", "canceled", "EOF", or the type of the error.
func errorType(a restyretry.Attempt) string {
	var timeout interface{ Timeout() bool }
	switch {
	case a.StatusCode() >= http.StatusBadRequest:
		return strconv.Itoa(a.StatusCode())
	case a.Reason == restyretry.ReasonPanic:
		return "panic"
	case a.Err == nil:
		return ""
	case errors.As(a.Err, &timeout) && timeout.Timeout(), errors.Is(a.Err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(a.Err, context.Canceled):
		return "canceled"
	case errors.Is(a.Err, io.EOF), errors.Is(a.Err, io.ErrUnexpectedEOF):
		return "EOF"
	default:
		return semconv.ErrorType(unwrapped(a.Err)).Value.AsString()
	}
}

// unwrapped takes off the wrappers that are around every error: that of
// net/http and the one that redacts.
func unwrapped(err error) error {
	switch e := err.(type) {
	case *url.Error:
		if e.Err != nil {
			return unwrapped(e.Err)
		}
	case interface{ Redacted() error }:
		return unwrapped(e.Redacted())
	}
	return err
}

// server is the host and the port that a URL is for.
func server(u *url.URL) (address string, port int) {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return u.Hostname(), port
	}
	if u.Scheme == "http" {
		return u.Hostname(), 80
	}
	return u.Hostname(), 443
}

// protocolVersion is "1.0", "1.1", "2" or "3", or "" where a transport does not
// say.
func protocolVersion(resp *http.Response) string {
	switch {
	case resp.ProtoMajor == 0:
		return ""
	case resp.ProtoMajor == 1:
		return "1." + strconv.Itoa(resp.ProtoMinor)
	default:
		return strconv.Itoa(resp.ProtoMajor)
	}
}
