package main

import (
	"encoding/binary"
	"fmt"
)

const (
	valueBytes = 128
	// Of the calls of `mixed`, one in so many is a Put.
	readsPerPut = 20
	// The keys of a BatchGet.
	batchKeys = 100
)

// call is a unary call. Its request is encoded already.
type call struct {
	method  string
	request []byte
}

const (
	ironflow = "/ironflow.kv.v1.KeyValueService/"
	etcd     = "/etcdserverpb.KV/"
)

var value = make([]byte, valueBytes)

// callsOf returns a function from a call's number to the call.
func callsOf(options options) (func(i int) call, error) {
	key := func(i int) []byte { return fmt.Appendf(nil, "user.%d", i*keyStep%options.keys) }
	put, get, commit := putToIronflow, getFromIronflow, commitToIronflow
	if options.target == "etcd" {
		put, get, commit = putToEtcd, getFromEtcd, commitToEtcd
	}
	switch options.workload {
	case "put", "fill":
		return func(i int) call { return put(key(i)) }, nil
	case "get":
		return func(i int) call { return get(key(i)) }, nil
	case "mixed":
		return func(i int) call {
			// Not the call's number, of which one worker has every IN_FLIGHT-th.
			if (i/options.inFlight+i)%readsPerPut == 0 {
				return put(key(i))
			}
			return get(key(i))
		}, nil
	case "commit":
		return func(i int) call { return commit(key(2*i), key(2*i+1)) }, nil
	case "batch-get":
		return func(i int) call {
			request := field(nil, 1, []byte("bench"))
			for j := range batchKeys {
				request = field(request, 2, key(i*batchKeys+j))
			}
			return call{ironflow + "BatchGet", request}
		}, nil
	default:
		return nil, fmt.Errorf("the workload is %q; see workloads.go", options.workload)
	}
}

func putToIronflow(key []byte) call {
	return call{ironflow + "Put", field(field(field(nil, 1, []byte("bench")), 2, key), 3, value)}
}

func getFromIronflow(key []byte) call {
	return call{ironflow + "Get", field(field(nil, 1, []byte("bench")), 2, key)}
}

func commitToIronflow(first, second []byte) call {
	request := field(nil, 1, []byte("bench"))
	for _, key := range [][]byte{first, second} {
		request = field(request, 2, field(nil, 2, field(field(nil, 2, key), 3, value)))
	}
	return call{ironflow + "Commit", request}
}

func putToEtcd(key []byte) call {
	return call{etcd + "Put", field(field(nil, 1, key), 2, value)}
}

func getFromEtcd(key []byte) call {
	return call{etcd + "Range", field(nil, 1, key)}
}

// commitToEtcd is a Txn without comparisons whose `success` has two Puts.
func commitToEtcd(first, second []byte) call {
	var request []byte
	for _, key := range [][]byte{first, second} {
		request = field(request, 2, field(nil, 2, field(field(nil, 1, key), 2, value)))
	}
	return call{etcd + "Txn", request}
}

// field appends a length-delimited field (https://protobuf.dev/programming-guides/encoding).
func field(message []byte, number int, value []byte) []byte {
	message = append(message, byte(number<<3|2))
	message = binary.AppendUvarint(message, uint64(len(value)))
	return append(message, value...)
}
