package ironflow_test

import (
	"context"
	"fmt"
	"os"
	"time"

	ironflow "github.com/ironflow-kv/ironflow-kv/clients/go"
)

// The lines of docs/clients.md.
func Example() {
	ctx := context.Background()
	client := ironflow.NewClient(ironflow.ClientConfig{APIKey: os.Getenv("IRONFLOW_API_KEY")})
	defer client.Close()
	info, err := client.KV().CreateBucket(ctx, ironflow.BucketConfig{Name: "sessions", TTL: time.Hour})
	sessions := client.KV().Bucket("sessions")
	revision, err := sessions.Put(ctx, "user:123", []byte("Alice"))
	for event, err := range sessions.Watch(ctx, ironflow.WatchOptions{Filters: []string{"user:*"}}) {
		fmt.Println(event, err)
	}
	fmt.Println(info, revision, err)
}
