//go:build tools

// Package tools pins the version of promtool that the tests run.
package tools

import _ "github.com/prometheus/prometheus/cmd/promtool"
