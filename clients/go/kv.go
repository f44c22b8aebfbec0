package ironflow

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

// KV creates, inspects, lists and deletes buckets.
type KV struct {
	caller  *caller
	buckets kvv1.BucketServiceClient
	keys    kvv1.KeyValueServiceClient
}

// BucketConfig is what a bucket is created with.
type BucketConfig struct {
	// Name: 1 to 64 of A-Z a-z 0-9 _ -.
	Name string
	// Description is free text, at most 1,024 bytes.
	Description string
	// TTL is how long an entry lives after its write: 1 second to 100 years. 0: forever.
	TTL time.Duration
	// MaxValueSize is the largest value to accept, in bytes. 0: only the service's limit applies.
	MaxValueSize uint32
	// MaxBytes is the most bytes to store, including history and tombstones. 0: no limit.
	MaxBytes uint64
	// History is how many revisions each key keeps: 1 to 64. 0: 1.
	History uint32
}

// BucketInfo is a bucket's configuration and statistics.
type BucketInfo struct {
	BucketConfig
	// Values is the number of keys that have a value.
	Values uint64
	// Bytes counts what is stored, including history and tombstones.
	Bytes     uint64
	CreatedAt time.Time
	// Revision is the newest one; 0 if nothing was ever written.
	Revision uint64
	Replicas uint32
	// IdempotencyWindow is how long the bucket remembers writes by their idempotency keys.
	IdempotencyWindow time.Duration
}

// Bucket returns a handle on a bucket's keys. It sends nothing, and does not check that the bucket exists.
func (k *KV) Bucket(name string) *Bucket {
	return &Bucket{name: name, caller: k.caller, keys: k.keys, kv: k}
}

// CreateBucket creates a bucket. ErrBucketExists: the name is taken, whatever the existing bucket's configuration.
func (k *KV) CreateBucket(ctx context.Context, config BucketConfig) (*BucketInfo, error) {
	request := &kvv1.CreateBucketRequest{
		Name:         config.Name,
		Description:  config.Description,
		MaxValueSize: config.MaxValueSize,
		MaxBytes:     config.MaxBytes,
		History:      config.History,
	}
	if config.TTL != 0 {
		request.Ttl = durationpb.New(config.TTL)
	}
	var info *BucketInfo
	err := k.caller.do(ctx, call{bucket: config.Name}, func(ctx context.Context) error {
		response, err := k.buckets.CreateBucket(ctx, request)
		info = infoOf(response.GetBucket())
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// GetBucketInfo returns a bucket's configuration and statistics. ErrBucketNotFound.
func (k *KV) GetBucketInfo(ctx context.Context, name string) (*BucketInfo, error) {
	var info *BucketInfo
	err := k.caller.do(ctx, call{bucket: name, isIdempotent: true}, func(ctx context.Context) error {
		response, err := k.buckets.GetBucket(ctx, &kvv1.GetBucketRequest{Bucket: name})
		info = infoOf(response.GetBucket())
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// ListBuckets returns every bucket, ordered by name.
func (k *KV) ListBuckets(ctx context.Context) ([]*BucketInfo, error) {
	var infos []*BucketInfo
	request := &kvv1.ListBucketsRequest{}
	for {
		var response *kvv1.ListBucketsResponse
		err := k.caller.do(ctx, call{isIdempotent: true}, func(ctx context.Context) (err error) {
			response, err = k.buckets.ListBuckets(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, bucket := range response.GetBuckets() {
			infos = append(infos, infoOf(bucket))
		}
		request.PageToken = response.GetNextPageToken()
		if request.PageToken == "" {
			return infos, nil
		}
	}
}

// DeleteBucket permanently deletes a bucket and its entries. ErrBucketNotFound.
func (k *KV) DeleteBucket(ctx context.Context, name string) error {
	defer k.caller.seen.Delete(name)
	return k.caller.do(ctx, call{bucket: name}, func(ctx context.Context) error {
		_, err := k.buckets.DeleteBucket(ctx, &kvv1.DeleteBucketRequest{Bucket: name})
		return err
	})
}

func infoOf(bucket *kvv1.Bucket) *BucketInfo {
	return &BucketInfo{
		BucketConfig: BucketConfig{
			Name:         bucket.GetName(),
			Description:  bucket.GetDescription(),
			TTL:          bucket.GetTtl().AsDuration(),
			MaxValueSize: bucket.GetMaxValueSize(),
			MaxBytes:     bucket.GetMaxBytes(),
			History:      bucket.GetHistory(),
		},
		Values:            bucket.GetValues(),
		Bytes:             bucket.GetBytes(),
		CreatedAt:         timeOf(bucket.GetCreatedAt()),
		Revision:          bucket.GetRevision(),
		Replicas:          bucket.GetReplicas(),
		IdempotencyWindow: bucket.GetIdempotencyWindow().AsDuration(),
	}
}

func timeOf(timestamp *timestamppb.Timestamp) time.Time {
	if timestamp == nil {
		return time.Time{}
	}
	return timestamp.AsTime()
}
