package ironflow

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

// Operation is what a write did to a key.
type Operation = kvv1.Operation

const (
	// OperationPut: the key was set to a value.
	OperationPut = kvv1.Operation_OPERATION_PUT
	// OperationDelete: the key was deleted; its earlier revisions are still in the history.
	OperationDelete = kvv1.Operation_OPERATION_DELETE
	// OperationPurge: the key was deleted together with its history.
	OperationPurge = kvv1.Operation_OPERATION_PURGE
	// OperationExpire: the key's newest entry exceeded its own TTL or the bucket's.
	OperationExpire = kvv1.Operation_OPERATION_EXPIRE
)

// batchKeysMax is the most keys of one BatchGet.
const batchKeysMax = 1_000

// Entry is one revision of a key.
type Entry struct {
	Key   string
	Value []byte
	// Revision grows with each write to the bucket, and is unique within it.
	Revision uint64
	// CreatedAt is when the revision was written, by the storage's clock.
	CreatedAt   time.Time
	Operation   Operation
	ContentType string
	// ExpiresAt is when the value expires by its own TTL, by the storage's clock. The zero time: never.
	ExpiresAt time.Time
	// Metadata is the text that was stored with the value.
	Metadata map[string]string
}

// PutOptions are what PutWith, CreateWith and UpdateWith store with a value.
type PutOptions struct {
	// TTL is how long the value lives: 1 second to 100 years, rounded up to whole seconds. Only in buckets with a history of 1. 0: no TTL of its own.
	TTL time.Duration
	// Metadata: at most 32 pairs with 2,048 bytes. A name has 1 to 64 of a-z 0-9 - _ ., and begins with a letter or digit.
	Metadata map[string]string
	// ContentType is the media type. Empty: none.
	ContentType string
}

// Bucket reads, writes and watches the keys of one bucket. Every call may return ErrBucketNotFound. Writes are applied at most once; if
// their outcome is still unknown at the time limit, they return ErrOutcomeUnknown.
type Bucket struct {
	name   string
	caller *caller
	keys   kvv1.KeyValueServiceClient
	kv     *KV
}

// Name returns the bucket's name.
func (b *Bucket) Name() string { return b.name }

// Get returns the newest value of a key. ErrKeyNotFound: it has none.
func (b *Bucket) Get(ctx context.Context, key string) (*Entry, error) {
	return b.GetRevision(ctx, key, 0)
}

// GetRevision returns the value that was written at a revision. ErrKeyNotFound, ErrRevisionCompacted, ErrRevisionInFuture.
func (b *Bucket) GetRevision(ctx context.Context, key string, revision uint64) (*Entry, error) {
	var entry *Entry
	err := b.caller.do(ctx, call{bucket: b.name, key: key, isIdempotent: true}, func(ctx context.Context) error {
		response, err := b.keys.Get(ctx, &kvv1.GetRequest{Bucket: b.name, Key: key, Revision: revision})
		entry = entryOf(response.GetEntry())
		return err
	})
	if err != nil {
		return nil, err
	}
	b.caller.recordRevision(b.name, entry.Revision)
	return entry, nil
}

// GetMany returns the values of many keys at one revision of the bucket, in their order: nil for a key without a value. It makes as many
// calls as the sizes of the values require. ErrRevisionCompacted: a key changed before the call that reads it, and the bucket does not keep
// its history; this can't happen if one call suffices.
func (b *Bucket) GetMany(ctx context.Context, keys ...string) ([]*Entry, uint64, error) {
	return b.GetManyAt(ctx, 0, keys...)
}

// GetManyAt is GetMany at an earlier revision. ErrRevisionCompacted: the state of a key at the revision can't be proved.
// ErrRevisionInFuture.
func (b *Bucket) GetManyAt(ctx context.Context, revision uint64, keys ...string) ([]*Entry, uint64, error) {
	entries := make([]*Entry, 0, len(keys))
	for len(entries) < len(keys) {
		some := keys[len(entries):min(len(keys), len(entries)+batchKeysMax)]
		request := &kvv1.BatchGetRequest{Bucket: b.name, Keys: some, Revision: revision}
		var response *kvv1.BatchGetResponse
		err := b.caller.do(ctx, call{bucket: b.name, isIdempotent: true}, func(ctx context.Context) (err error) {
			response, err = b.keys.BatchGet(ctx, request)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		for _, result := range response.GetResults() {
			var entry *Entry
			if result.GetEntry() != nil {
				entry = entryOf(result.GetEntry())
			}
			entries = append(entries, entry)
		}
		revision = response.GetRevision()
	}
	b.caller.recordRevision(b.name, revision)
	return entries, revision, nil
}

// ScanOptions select the entries of a scan. The zero value selects all.
type ScanOptions struct {
	// Filters: a key must match at least one. None: all keys.
	Filters []string
	// Prefix is the text that keys begin with.
	Prefix string
	// StartKey is inclusive, EndKey exclusive, both by UTF-8 bytes. To continue after a key, append "\x00" to it.
	StartKey, EndKey string
	// Reverse: from the last key to the first.
	Reverse bool
	// Limit is the most entries. 0: all.
	Limit uint32
	// KeysOnly: entries without values.
	KeysOnly bool
	// AllowNewer continues at a newer revision where a value is no longer kept, instead of ErrRevisionCompacted.
	AllowNewer bool
}

// Scan streams the entries that match, in the byte order of their keys, at one revision of the bucket. The last pair has the error, if any:
// ErrRevisionCompacted if a value was overwritten before it was read and the bucket does not keep its history.
func (b *Bucket) Scan(ctx context.Context, options ScanOptions) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := b.keys.Scan(ctx, &kvv1.ScanRequest{
			Bucket: b.name, Filters: options.Filters, Prefix: options.Prefix,
			StartKey: options.StartKey, EndKey: options.EndKey, Reverse: options.Reverse,
			Limit: options.Limit, KeysOnly: options.KeysOnly, AllowNewer: options.AllowNewer,
		})
		for err == nil {
			var response *kvv1.ScanResponse
			if response, err = stream.Recv(); err != nil {
				break
			}
			for _, entry := range response.GetEntries() {
				if !yield(entryOf(entry), nil) {
					return
				}
			}
			if response.GetEnd() != nil {
				return
			}
		}
		yield(nil, errorOf(err, call{bucket: b.name, isIdempotent: true}))
	}
}

// Put writes a value, and returns its revision.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.put(ctx, key, value, nil, PutOptions{})
}

// PutWith is Put with a TTL, metadata or a media type. ErrTTLNotSupported: the bucket's history is not 1.
func (b *Bucket) PutWith(ctx context.Context, key string, value []byte, options PutOptions) (uint64, error) {
	return b.put(ctx, key, value, nil, options)
}

// Create writes a value if the key has none. ErrKeyExists, with the current revision in Error.Revision.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.CreateWith(ctx, key, value, PutOptions{})
}

// CreateWith is Create with a TTL, metadata or a media type.
func (b *Bucket) CreateWith(ctx context.Context, key string, value []byte, options PutOptions) (uint64, error) {
	precondition := &kvv1.Precondition{Condition: &kvv1.Precondition_IfAbsent{IfAbsent: true}}
	return b.put(ctx, key, value, precondition, options)
}

// Update writes a value if revision is the key's newest one. ErrRevisionMismatch, with the current revision in Error.Revision.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.UpdateWith(ctx, key, value, revision, PutOptions{})
}

// UpdateWith is Update with a TTL, metadata or a media type.
func (b *Bucket) UpdateWith(ctx context.Context, key string, value []byte, revision uint64, options PutOptions) (uint64, error) {
	precondition := &kvv1.Precondition{Condition: &kvv1.Precondition_IfRevision{IfRevision: revision}}
	return b.put(ctx, key, value, precondition, options)
}

// Touch gives a key another TTL, or none for 0, and keeps its value, media type and metadata. It returns the new revision. If ifRevision is not
// 0, it must be the key's newest one. ErrKeyNotFound, ErrRevisionMismatch, ErrTTLNotSupported.
func (b *Bucket) Touch(ctx context.Context, key string, ttl time.Duration, ifRevision uint64) (uint64, error) {
	request := &kvv1.TouchRequest{
		Bucket: b.name, Key: key, IfRevision: ifRevision, Ttl: ttlOf(ttl), IdempotencyKey: b.newIdempotencyKey(),
	}
	return b.write(ctx, key, request.IdempotencyKey, func(ctx context.Context) (uint64, error) {
		response, err := b.keys.Touch(ctx, request)
		return response.GetRevision(), err
	})
}

// Delete deletes a key; its earlier revisions stay in the history. It returns the tombstone's revision, or 0 if the key had no value.
func (b *Bucket) Delete(ctx context.Context, key string) (uint64, error) {
	return b.remove(ctx, key, false)
}

// Purge deletes a key with its history.
func (b *Bucket) Purge(ctx context.Context, key string) (uint64, error) {
	return b.remove(ctx, key, true)
}

// DeleteKeysOptions are what DeleteKeysWith does beside deleting.
type DeleteKeysOptions struct {
	// Purge: also remove the history of each deleted key.
	Purge bool
	// OnProgress is called after each call, with the number of keys deleted so far and an upper bound on those that are left.
	OnProgress func(deleted, remainingMax uint64)
}

// DeleteKeys deletes the keys that match at least one filter, in as many calls as it takes, and returns how many it deleted and how many it
// passed over: it never deletes an entry that is written after it began, or that changes meanwhile. It is not atomic: after an error, some keys
// are deleted; call it again. Without a filter it returns ErrInvalidArgument: ">" matches every key.
func (b *Bucket) DeleteKeys(ctx context.Context, filters ...string) (deleted, skipped uint64, err error) {
	return b.DeleteKeysWith(ctx, DeleteKeysOptions{}, filters...)
}

// DeleteKeysWith is DeleteKeys with options.
func (b *Bucket) DeleteKeysWith(
	ctx context.Context, options DeleteKeysOptions, filters ...string,
) (deleted, skipped uint64, err error) {
	request := &kvv1.DeleteKeysRequest{Bucket: b.name, Filters: filters, Purge: options.Purge}
	for {
		var response *kvv1.DeleteKeysResponse
		err := b.caller.do(ctx, call{bucket: b.name, isIdempotent: true}, func(ctx context.Context) (err error) {
			response, err = b.keys.DeleteKeys(ctx, request)
			return err
		})
		if err != nil {
			return deleted, skipped, err
		}
		deleted += uint64(response.GetDeleted())
		skipped += uint64(response.GetSkipped())
		if options.OnProgress != nil {
			options.OnProgress(deleted, response.GetRemainingMax())
		}
		request.PageToken = response.GetNextPageToken()
		if request.PageToken == "" {
			return deleted, skipped, nil
		}
	}
}

// Keys lists the keys that have a value and match at least one filter, in byte order. Without filters: all keys. Filters are `user.*` (one
// token), `user.>` (the rest) and `user-*` (within a token).
func (b *Bucket) Keys(ctx context.Context, filters ...string) ([]string, error) {
	var keys []string
	request := &kvv1.ListKeysRequest{Bucket: b.name, Filters: filters}
	for {
		var response *kvv1.ListKeysResponse
		err := b.caller.do(ctx, call{bucket: b.name, isIdempotent: true}, func(ctx context.Context) (err error) {
			response, err = b.keys.ListKeys(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		keys = append(keys, response.GetKeys()...)
		request.PageToken = response.GetNextPageToken()
		if request.PageToken == "" {
			return keys, nil
		}
	}
}

// History returns the stored revisions of a key, oldest first, including deletes. ErrKeyNotFound: there are none.
func (b *Bucket) History(ctx context.Context, key string) ([]*Entry, error) {
	var entries []*Entry
	request := &kvv1.GetHistoryRequest{Bucket: b.name, Key: key, Limit: 64}
	for {
		var response *kvv1.GetHistoryResponse
		err := b.caller.do(ctx, call{bucket: b.name, key: key, isIdempotent: true}, func(ctx context.Context) (err error) {
			response, err = b.keys.GetHistory(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, entry := range response.GetEntries() {
			entries = append(entries, entryOf(entry))
		}
		request.PageToken = response.GetNextPageToken()
		if request.PageToken == "" {
			return entries, nil
		}
	}
}

func (b *Bucket) put(
	ctx context.Context, key string, value []byte, precondition *kvv1.Precondition, options PutOptions,
) (uint64, error) {
	request := &kvv1.PutRequest{
		Bucket: b.name, Key: key, Value: value, Precondition: precondition, IdempotencyKey: b.newIdempotencyKey(),
		ContentType: options.ContentType, Ttl: ttlOf(options.TTL), Metadata: options.Metadata,
	}
	return b.write(ctx, key, request.IdempotencyKey, func(ctx context.Context) (uint64, error) {
		response, err := b.keys.Put(ctx, request)
		return response.GetRevision(), err
	})
}

func (b *Bucket) remove(ctx context.Context, key string, purge bool) (uint64, error) {
	request := &kvv1.DeleteRequest{Bucket: b.name, Key: key, Purge: purge, IdempotencyKey: b.newIdempotencyKey()}
	return b.write(ctx, key, request.IdempotencyKey, func(ctx context.Context) (uint64, error) {
		response, err := b.keys.Delete(ctx, request)
		return response.GetRevision(), err
	})
}

func (b *Bucket) write(
	ctx context.Context, key, idempotencyKey string, attempt func(context.Context) (uint64, error),
) (uint64, error) {
	var revision uint64
	about := call{bucket: b.name, key: key, idempotencyKey: idempotencyKey}
	err := b.caller.do(ctx, about, func(ctx context.Context) (err error) {
		revision, err = attempt(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	b.caller.recordRevision(b.name, revision)
	return revision, nil
}

// newIdempotencyKey returns an empty key if nothing is sent twice.
func (b *Bucket) newIdempotencyKey() string {
	if b.caller.config.Attempts == 1 {
		return ""
	}
	return b.caller.keys.next()
}

// ttlOf returns nil for 0, which means no TTL.
func ttlOf(ttl time.Duration) *durationpb.Duration {
	if ttl == 0 {
		return nil
	}
	return durationpb.New(ttl)
}

func entryOf(entry *kvv1.Entry) *Entry {
	return &Entry{
		Key:         entry.GetKey(),
		Value:       entry.GetValue(),
		Revision:    entry.GetRevision(),
		CreatedAt:   timeOf(entry.GetCreatedAt()),
		Operation:   entry.GetOperation(),
		ContentType: entry.GetContentType(),
		ExpiresAt:   timeOf(entry.GetExpiresAt()),
		Metadata:    entry.GetMetadata(),
	}
}
