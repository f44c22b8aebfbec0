package ironflow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	ironflow "github.com/ironflow-kv/ironflow-kv/clients/go"
)

// newClient returns a client of the service at IRONFLOW_SERVER, which test/clients/go.test.ts starts.
func newClient(t *testing.T) *ironflow.Client {
	t.Helper()
	server := os.Getenv("IRONFLOW_SERVER")
	if server == "" {
		t.Skip("IRONFLOW_SERVER is not set: there is no service to test with.")
	}
	client := ironflow.NewClient(ironflow.ClientConfig{ServerURL: server, APIKey: os.Getenv("IRONFLOW_API_KEY")})
	t.Cleanup(func() { client.Close() })
	return client
}

// newBucket creates a bucket that ends with the test.
func newBucket(t *testing.T, client *ironflow.Client) *ironflow.Bucket {
	t.Helper()
	name := fmt.Sprintf("go-%d-%d", os.Getpid(), time.Now().UnixNano())
	if _, err := client.KV().CreateBucket(t.Context(), ironflow.BucketConfig{Name: name, History: 5}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.KV().DeleteBucket(context.Background(), name) })
	return client.KV().Bucket(name)
}

func must[Value any](value Value, err error) func(*testing.T) Value {
	return func(t *testing.T) Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestGetMany(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	must(bucket.Put(ctx, "a", []byte("1")))(t)
	revision := must(bucket.Put(ctx, "b", []byte("2")))(t)
	entries, read, err := bucket.GetMany(ctx, "b", "absent", "a")
	if err != nil || read != revision || len(entries) != 3 || entries[1] != nil {
		t.Fatalf("read %v at %d: %v", entries, read, err)
	}
	if string(entries[0].Value) != "2" || string(entries[2].Value) != "1" {
		t.Errorf("read %q and %q", entries[0].Value, entries[2].Value)
	}
	must(bucket.Put(ctx, "a", []byte("3")))(t)
	entries, _, err = bucket.GetManyAt(ctx, revision, "a")
	if err != nil || string(entries[0].Value) != "1" {
		t.Errorf("read %v at %d: %v", entries, revision, err)
	}
	if _, _, err = bucket.GetManyAt(ctx, 1_000, "a"); !errors.Is(err, ironflow.ErrRevisionInFuture) {
		t.Errorf("read a revision that was not written: %v", err)
	}
}

func TestCommit(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	first := must(bucket.Put(ctx, "a", []byte("1")))(t)
	result := must(bucket.Atomic().
		Check("a", first).CheckAbsent("none").CheckUnchanged("other.>", first).
		Update("a", []byte("2"), first).Create("b", []byte("2")).Delete("c", 0).
		Apply(ctx))(t)
	// The checks may have cost hidden records before the writes.
	written := result.Revision - 2
	if !slices.Equal(result.Revisions, []uint64{0, 0, 0, written, written + 1, written + 2}) || written <= first {
		t.Errorf("committed %+v", result)
	}
	_, err := bucket.Atomic().Put("d", []byte("1")).Update("a", []byte("3"), first).Apply(ctx)
	var failure *ironflow.Error
	if !errors.Is(err, ironflow.ErrRevisionMismatch) || !errors.As(err, &failure) {
		t.Fatalf("committed over a newer revision: %v", err)
	}
	if failure.OperationIndex == nil || *failure.OperationIndex != 1 || failure.Key != "a" || failure.Revision != written {
		t.Errorf("refused as %+v", failure)
	}
	if _, err := bucket.Get(ctx, "d"); !errors.Is(err, ironflow.ErrKeyNotFound) {
		t.Errorf("a refused commit wrote: %v", err)
	}
}

func TestDeleteKeys(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	for _, key := range []string{"a.1", "a.2", "b"} {
		must(bucket.Put(ctx, key, []byte("1")))(t)
	}
	if _, _, err := bucket.DeleteKeys(ctx); !errors.Is(err, ironflow.ErrInvalidArgument) {
		t.Errorf("deleted without a filter: %v", err)
	}
	deleted, skipped, err := bucket.DeleteKeys(ctx, "a.*")
	if err != nil || deleted != 2 || skipped != 0 {
		t.Errorf("deleted %d, skipped %d: %v", deleted, skipped, err)
	}
	if keys := must(bucket.Keys(ctx))(t); !slices.Equal(keys, []string{"b"}) {
		t.Errorf("left %v", keys)
	}
}

func TestScan(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	for _, key := range []string{"b", "a.1", "a.2"} {
		must(bucket.Put(ctx, key, []byte("of "+key)))(t)
	}
	var found []string
	for entry, err := range bucket.Scan(ctx, ironflow.ScanOptions{Prefix: "a.", Reverse: true}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, string(entry.Value))
	}
	if !slices.Equal(found, []string{"of a.2", "of a.1"}) {
		t.Errorf("scanned %v", found)
	}
	for _, err := range bucket.Scan(ctx, ironflow.ScanOptions{StartKey: "b", EndKey: "a"}) {
		if err == nil {
			t.Error("scanned between bounds in the wrong order")
		}
	}
}

func TestBuckets(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	name := fmt.Sprintf("go-sessions-%d", time.Now().UnixNano())
	info, err := client.KV().CreateBucket(ctx, ironflow.BucketConfig{Name: name, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != name || info.TTL != time.Hour || info.History != 1 {
		t.Errorf("created %+v", info)
	}
	if _, err := client.KV().CreateBucket(ctx, ironflow.BucketConfig{Name: name}); !errors.Is(err, ironflow.ErrBucketExists) {
		t.Errorf("created twice: %v", err)
	}
	infos := must(client.KV().ListBuckets(ctx))(t)
	if !slices.ContainsFunc(infos, func(one *ironflow.BucketInfo) bool { return one.Name == name }) {
		t.Errorf("%s is not listed", name)
	}
	if again := must(client.KV().GetBucketInfo(ctx, name))(t); !again.CreatedAt.Equal(info.CreatedAt) {
		t.Errorf("described %+v", again)
	}
	if err := client.KV().DeleteBucket(ctx, name); err != nil {
		t.Fatal(err)
	}
	if _, err := client.KV().GetBucketInfo(ctx, name); !errors.Is(err, ironflow.ErrBucketNotFound) {
		t.Errorf("described after its deletion: %v", err)
	}
}

func TestKeys(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	first := must(bucket.Create(ctx, "user.1", []byte("Alice")))(t)
	_, err := bucket.Create(ctx, "user.1", []byte("Bob"))
	if !errors.Is(err, ironflow.ErrKeyExists) {
		t.Errorf("created twice: %v", err)
	}
	second := must(bucket.Update(ctx, "user.1", []byte("Bob"), first))(t)
	_, err = bucket.Update(ctx, "user.1", []byte("Carol"), first)
	var failure *ironflow.Error
	if !errors.Is(err, ironflow.ErrRevisionMismatch) || !errors.As(err, &failure) || failure.Revision != second {
		t.Errorf("updated an old revision: %v", err)
	}
	if entry := must(bucket.Get(ctx, "user.1"))(t); string(entry.Value) != "Bob" || entry.Revision != second {
		t.Errorf("got %+v", entry)
	}
	if entry := must(bucket.GetRevision(ctx, "user.1", first))(t); string(entry.Value) != "Alice" {
		t.Errorf("got %+v", entry)
	}
	must(bucket.Put(ctx, "other", nil))(t)
	if keys := must(bucket.Keys(ctx, "user.*"))(t); !slices.Equal(keys, []string{"user.1"}) {
		t.Errorf("listed %v", keys)
	}
	if keys := must(bucket.Keys(ctx))(t); !slices.Equal(keys, []string{"other", "user.1"}) {
		t.Errorf("listed %v", keys)
	}
	must(bucket.Delete(ctx, "user.1"))(t)
	var operations []ironflow.Operation
	for _, entry := range must(bucket.History(ctx, "user.1"))(t) {
		operations = append(operations, entry.Operation)
	}
	expected := []ironflow.Operation{ironflow.OperationPut, ironflow.OperationPut, ironflow.OperationDelete}
	if !slices.Equal(operations, expected) {
		t.Errorf("history %v", operations)
	}
	if _, err := bucket.Get(ctx, "user.1"); !errors.Is(err, ironflow.ErrKeyNotFound) {
		t.Errorf("got a deleted key: %v", err)
	}
	must(bucket.Purge(ctx, "user.1"))(t)
	if history := must(bucket.History(ctx, "user.1"))(t); len(history) != 1 {
		t.Errorf("history after a purge: %d entries", len(history))
	}
}

func TestTTLAndMetadata(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	deep := newBucket(t, client)
	name := deep.Name() + "-ttl"
	must(client.KV().CreateBucket(ctx, ironflow.BucketConfig{Name: name}))(t)
	t.Cleanup(func() { client.KV().DeleteBucket(context.Background(), name) })
	bucket := client.KV().Bucket(name)
	options := ironflow.PutOptions{TTL: time.Minute, Metadata: map[string]string{"author": "Ann"}, ContentType: "text/plain"}
	if _, err := deep.PutWith(ctx, "k", []byte("v"), options); !errors.Is(err, ironflow.ErrTTLNotSupported) {
		t.Errorf("a TTL in a history of 5: %v", err)
	}
	first := must(bucket.CreateWith(ctx, "k", []byte("v"), options))(t)
	entry := must(bucket.Get(ctx, "k"))(t)
	if life := entry.ExpiresAt.Sub(entry.CreatedAt); life != time.Minute || entry.Metadata["author"] != "Ann" {
		t.Errorf("lives %s with %v", life, entry.Metadata)
	}
	must(bucket.Touch(ctx, "k", 2*time.Minute, first))(t)
	if _, err := bucket.Touch(ctx, "k", time.Minute, first); !errors.Is(err, ironflow.ErrRevisionMismatch) {
		t.Errorf("touched on an old revision: %v", err)
	}
	entry = must(bucket.Get(ctx, "k"))(t)
	if life := entry.ExpiresAt.Sub(entry.CreatedAt); life != 2*time.Minute || string(entry.Value) != "v" || entry.ContentType != "text/plain" {
		t.Errorf("touched: %+v", entry)
	}
	must(bucket.Touch(ctx, "k", 0, 0))(t)
	if entry = must(bucket.Get(ctx, "k"))(t); !entry.ExpiresAt.IsZero() {
		t.Errorf("expires at %s", entry.ExpiresAt)
	}
	if _, err := bucket.Touch(ctx, "none", 0, 0); !errors.Is(err, ironflow.ErrKeyNotFound) {
		t.Errorf("touched a key without a value: %v", err)
	}
}

func TestWatch(t *testing.T) {
	ctx := t.Context()
	bucket := newBucket(t, newClient(t))
	must(bucket.Put(ctx, "k.1", []byte("1")))(t)
	var seen []string
	for event, err := range bucket.Watch(ctx, ironflow.WatchOptions{Filters: []string{"k.*"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.SnapshotEnd {
			seen = append(seen, "end")
			must(bucket.Put(ctx, "other", nil))(t)
			must(bucket.Put(ctx, "k.2", []byte("2")))(t)
			must(bucket.Delete(ctx, "k.1"))(t)
			continue
		}
		seen = append(seen, event.Key+" "+event.Operation.String())
		if event.Operation == ironflow.OperationDelete {
			break
		}
	}
	expected := []string{"k.1 OPERATION_PUT", "end", "k.2 OPERATION_PUT", "k.1 OPERATION_DELETE"}
	if !slices.Equal(seen, expected) {
		t.Errorf("saw %v", seen)
	}
}

func TestWatchOfABucketThatDoesNotExist(t *testing.T) {
	for _, err := range newClient(t).KV().Bucket("go-absent").Watch(t.Context(), ironflow.WatchOptions{}) {
		if !errors.Is(err, ironflow.ErrBucketNotFound) {
			t.Errorf("watched: %v", err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	client := ironflow.NewClient(ironflow.ClientConfig{ServerURL: "nats://localhost"})
	if _, err := client.KV().ListBuckets(t.Context()); err == nil || client.Close() == nil {
		t.Error("a URL of another scheme was accepted")
	}
}
