// Package benchmarks compares Hocket with its peers on the same work: a typed echo, and an event that is published and
// waited for. The program in cmd/bench runs them in turns and prints tables of ratios; the Benchmark functions here run
// each contender by itself. README.md tells how to read the numbers.
package benchmarks
