// Command writes sends gRPC Puts of 128 bytes, spread over many keys, to ironflow-kv or etcd, and prints one line of JSON:
// perSecond, p50Ms, p99Ms, failed, and the first error.
//
// Usage: writes (ironflow|etcd) ADDRESS IN_FLIGHT SECONDS KEYS
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	warmUp      = 500 * time.Millisecond
	valueBytes  = 128
	connections = 4
	// Coprime to the number of keys: neighboring writes go to distant keys.
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

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 5 {
		return fmt.Errorf("%d arguments; usage: writes (ironflow|etcd) ADDRESS IN_FLIGHT SECONDS KEYS", len(arguments))
	}
	target, address := arguments[0], arguments[1]
	inFlight, err := strconv.Atoi(arguments[2])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(arguments[3], 64)
	if err != nil {
		return err
	}
	keys, err := strconv.Atoi(arguments[4])
	if err != nil {
		return err
	}
	clients := make([]*grpc.ClientConn, min(connections, inFlight))
	for i := range clients {
		clients[i], err = grpc.NewClient(address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
		if err != nil {
			return err
		}
		defer clients[i].Close()
	}
	workers := make([]worker, inFlight)
	begin := time.Now().Add(warmUp)
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { workers[i].put(clients[i%len(clients)], target, i, inFlight, keys, begin, end) })
	}
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(summarize(workers, seconds))
}

// put sends Puts one after the other until the end; those between begin and end count.
func (w *worker) put(client *grpc.ClientConn, target string, first, step, keys int, begin, end time.Time) {
	method, encode := methodOf(target)
	for i := first; ; i += step {
		request := encode(fmt.Sprintf("user.%d", i*keyStep%keys))
		var response []byte
		sent := time.Now()
		err := client.Invoke(context.Background(), method, request, &response)
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

func methodOf(target string) (string, func(key string) []byte) {
	value := make([]byte, valueBytes)
	if target == "etcd" {
		return "/etcdserverpb.KV/Put", func(key string) []byte {
			return field(field(nil, 1, []byte(key)), 2, value)
		}
	}
	return "/ironflow.kv.v1.KeyValueService/Put", func(key string) []byte {
		return field(field(field(nil, 1, []byte("bench")), 2, []byte(key)), 3, value)
	}
}

// field appends a length-delimited field (https://protobuf.dev/programming-guides/encoding).
func field(message []byte, number int, value []byte) []byte {
	message = append(message, byte(number<<3|2))
	message = binary.AppendUvarint(message, uint64(len(value)))
	return append(message, value...)
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
