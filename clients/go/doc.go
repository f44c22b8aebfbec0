// Package ironflow is the Go client of ironflow-kv, a key-value service on NATS JetStream.
//
//	client := ironflow.NewClient(ironflow.ClientConfig{APIKey: os.Getenv("IRONFLOW_API_KEY")})
//	defer client.Close()
//	info, err := client.KV().CreateBucket(ctx, ironflow.BucketConfig{Name: "sessions", TTL: time.Hour})
//	sessions := client.KV().Bucket("sessions")
//	revision, err := sessions.Put(ctx, "user:123", []byte(`{"name":"Alice"}`))
//	_, err = sessions.Update(ctx, "user:123", []byte(`{}`), revision)
//	if errors.Is(err, ironflow.ErrRevisionMismatch) { ... }
//
// Every call ends with its context, or after ClientConfig.Timeout if the context has no deadline. Calls are retried unless that could apply a
// write twice. A failed call returns an *Error, except that it returns ctx.Err() if its context was canceled.
package ironflow
