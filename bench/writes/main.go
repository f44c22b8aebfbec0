// Command writes sends gRPC calls for keys with values of 128 bytes to ironflow-kv or etcd, and prints one line of JSON: perSecond, p50Ms,
// p99Ms, failed, and the first error. Of a scan, perSecond counts entries.
//
// Usage: writes WORKLOAD (ironflow|etcd) ADDRESSES IN_FLIGHT SECONDS KEYS
//
// A WORKLOAD of workloads.go or `scan`. `fill` puts each key once, and `scan` reads all keys once, whatever SECONDS is. ADDRESSES: one, or
// several with commas, which the connections are spread over.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	warmUp      = 500 * time.Millisecond
	connections = 4
	// Coprime to the number of keys: neighboring calls go to distant keys.
	keyStep = 7919
)

// rawCodec sends requests that are encoded already, under the name that servers expect.
type rawCodec struct{}

func (rawCodec) Marshal(message any) ([]byte, error) { return message.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = data
	return nil
}
func (rawCodec) Name() string { return "proto" }

// worker is one call in flight; only its goroutine writes to it.
type worker struct {
	latencies []time.Duration
	failed    int
	err       error
}

type result struct {
	PerSecond float64 `json:"perSecond"`
	P50Ms     float64 `json:"p50Ms"`
	P99Ms     float64 `json:"p99Ms"`
	Failed    int     `json:"failed"`
	Error     string  `json:"error,omitempty"`
}

type options struct {
	workload, target string
	inFlight, keys   int
	seconds          float64
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 6 {
		return fmt.Errorf("%d arguments; usage: writes WORKLOAD (ironflow|etcd) ADDRESSES IN_FLIGHT SECONDS KEYS", len(arguments))
	}
	inFlight, err := strconv.Atoi(arguments[3])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(arguments[4], 64)
	if err != nil {
		return err
	}
	keys, err := strconv.Atoi(arguments[5])
	if err != nil {
		return err
	}
	options := options{arguments[0], arguments[1], inFlight, keys, seconds}
	clients, err := connect(strings.Split(arguments[2], ","), min(connections, inFlight))
	if err != nil {
		return err
	}
	var total result
	if options.workload == "scan" {
		total, err = scan(clients[0], options)
	} else {
		total, err = load(clients, options)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

func connect(addresses []string, count int) ([]*grpc.ClientConn, error) {
	clients := make([]*grpc.ClientConn, count)
	for i := range clients {
		var err error
		clients[i], err = grpc.NewClient(addresses[i%len(addresses)],
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
		if err != nil {
			return nil, err
		}
	}
	return clients, nil
}

func load(clients []*grpc.ClientConn, options options) (result, error) {
	next, err := callsOf(options)
	if err != nil {
		return result{}, err
	}
	workers := make([]worker, options.inFlight)
	started := time.Now()
	begin, end := started.Add(warmUp), started.Add(warmUp+time.Duration(options.seconds*float64(time.Second)))
	if options.workload == "fill" {
		begin, end = started, started.Add(time.Hour)
	}
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { workers[i].send(clients[i%len(clients)], next, i, options, begin, end) })
	}
	group.Wait()
	measured := options.seconds
	if options.workload == "fill" {
		measured = time.Since(started).Seconds()
	}
	return summarize(workers, measured), nil
}

// send sends calls one after the other until the end; those between begin and end count.
func (w *worker) send(client *grpc.ClientConn, next func(i int) call, first int, options options, begin, end time.Time) {
	for i := first; options.workload != "fill" || i < options.keys; i += options.inFlight {
		call := next(i)
		var response []byte
		sent := time.Now()
		err := client.Invoke(context.Background(), call.method, call.request, &response)
		done := time.Now()
		switch {
		case done.After(end):
			return
		case done.Before(begin):
		case err != nil:
			w.failed++
			w.err = err
		default:
			w.latencies = append(w.latencies, done.Sub(sent))
		}
	}
}

func summarize(workers []worker, seconds float64) result {
	var all []time.Duration
	var total result
	for _, w := range workers {
		all = append(all, w.latencies...)
		total.Failed += w.failed
		if w.err != nil {
			total.Error = w.err.Error()
		}
	}
	slices.Sort(all)
	total.PerSecond = float64(len(all)) / seconds
	total.P50Ms, total.P99Ms = quantileMs(all, 0.5), quantileMs(all, 0.99)
	return total
}

func quantileMs(sorted []time.Duration, quantile float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(float64(len(sorted)-1)*quantile)].Microseconds()) / 1000
}
