// Calls the service with connect-go, in the protocol that the first argument names.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"connectrpc.com/connect"
	kv "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

const service = "/ironflow.kv.v1.KeyValueService/"

func main() {
	protocol, url, key, bucket := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	options := map[string][]connect.ClientOption{
		"connect":      nil,
		"connect-gzip": {connect.WithSendGzip()},
		"grpc":         {connect.WithGRPC()},
		"grpc-gzip":    {connect.WithGRPC(), connect.WithSendGzip()},
		"grpc-web":     {connect.WithGRPCWeb()},
	}[protocol]
	put := connect.NewClient[kv.PutRequest, kv.PutResponse](client, url+service+"Put", options...)
	get := connect.NewClient[kv.GetRequest, kv.GetResponse](client, url+service+"Get", options...)
	watch := connect.NewClient[kv.WatchRequest, kv.WatchResponse](client, url+service+"Watch", options...)
	ctx := context.Background()

	written, err := put.CallUnary(ctx, request(key, &kv.PutRequest{Bucket: bucket, Key: "k", Value: []byte("Ann")}))
	check(err)
	fmt.Println("put", written.Msg.GetRevision() == 1)
	got, err := get.CallUnary(ctx, request(key, &kv.GetRequest{Bucket: bucket, Key: "k"}))
	check(err)
	fmt.Println("get", string(got.Msg.GetEntry().GetValue()))
	absent := &kv.Precondition{Condition: &kv.Precondition_IfAbsent{IfAbsent: true}}
	_, err = put.CallUnary(ctx, request(key, &kv.PutRequest{Bucket: bucket, Key: "k", Precondition: absent}))
	fmt.Println("conflict", connect.CodeOf(err))
	_, err = put.CallUnary(ctx, request(key, &kv.PutRequest{Bucket: bucket, Key: "k", Value: make([]byte, 2<<20)}))
	fmt.Println("too large", connect.CodeOf(err))
	_, err = get.CallUnary(ctx, request(key, &kv.GetRequest{Bucket: bucket, Key: `é: "%41"`}))
	var failure *connect.Error
	if errors.As(err, &failure) {
		fmt.Println("missing", failure.Message())
	}
	_, err = get.CallUnary(ctx, connect.NewRequest(&kv.GetRequest{Bucket: bucket, Key: "k"}))
	fmt.Println("without key", connect.CodeOf(err))

	stream, err := watch.CallServerStream(ctx, request(key, &kv.WatchRequest{Bucket: bucket}))
	check(err)
	for stream.Receive() {
		if entry := stream.Msg().GetChange().GetEntry(); entry != nil {
			fmt.Println("watch", entry.GetKey())
			break
		}
	}
	check(stream.Err())
}

func request[Message any](key string, message *Message) *connect.Request[Message] {
	request := connect.NewRequest(message)
	request.Header().Set("Authorization", "Bearer "+key)
	return request
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
