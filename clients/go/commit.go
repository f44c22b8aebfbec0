package ironflow

import (
	"context"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

// Commit collects 1 to 500 operations, then applies all of them, or none. The conditions describe the bucket before the commit. A key may be
// written once and checked once.
type Commit struct {
	bucket     *Bucket
	operations []*kvv1.CommitRequest_Operation
}

// CommitResult says what a commit wrote.
type CommitResult struct {
	// Revision is that of the commit's last write; of a commit of checks alone, the bucket's revision at which they held.
	Revision uint64
	// Revisions are those of the operations, in the order in which they were added; 0 for a check.
	Revisions []uint64
}

// Atomic begins a commit. Nothing is sent before Commit.Apply.
func (b *Bucket) Atomic() *Commit { return &Commit{bucket: b} }

// Check requires that revision is the key's newest one, without writing the key.
func (c *Commit) Check(key string, revision uint64) *Commit {
	return c.check(&kvv1.CommitRequest_Check{
		Key: key, Condition: &kvv1.CommitRequest_Check_Revision{Revision: revision},
	})
}

// CheckAbsent requires that the key has no value, without writing it.
func (c *Commit) CheckAbsent(key string) *Commit {
	return c.check(&kvv1.CommitRequest_Check{Key: key, Condition: &kvv1.CommitRequest_Check_Absent{Absent: true}})
}

// CheckUnchanged requires that no key which matches the filter was written, deleted or expired after a revision of the bucket.
func (c *Commit) CheckUnchanged(filter string, revision uint64) *Commit {
	return c.check(&kvv1.CommitRequest_Check{
		Filter: filter, Condition: &kvv1.CommitRequest_Check_UnchangedSince{UnchangedSince: revision},
	})
}

// Put writes a value.
func (c *Commit) Put(key string, value []byte) *Commit {
	return c.PutWith(key, value, PutOptions{})
}

// PutWith is Put with a TTL, metadata or a media type.
func (c *Commit) PutWith(key string, value []byte, options PutOptions) *Commit {
	return c.put(key, value, nil, options)
}

// Create writes a value if the key has none.
func (c *Commit) Create(key string, value []byte) *Commit {
	precondition := &kvv1.Precondition{Condition: &kvv1.Precondition_IfAbsent{IfAbsent: true}}
	return c.put(key, value, precondition, PutOptions{})
}

// Update writes a value if revision is the key's newest one.
func (c *Commit) Update(key string, value []byte, revision uint64) *Commit {
	precondition := &kvv1.Precondition{Condition: &kvv1.Precondition_IfRevision{IfRevision: revision}}
	return c.put(key, value, precondition, PutOptions{})
}

// Delete deletes a key; its earlier revisions stay in the history. If ifRevision is not 0, it must be the key's newest one.
func (c *Commit) Delete(key string, ifRevision uint64) *Commit {
	return c.remove(key, ifRevision, false)
}

// Purge deletes a key with its history. If ifRevision is not 0, it must be the key's newest one.
func (c *Commit) Purge(key string, ifRevision uint64) *Commit {
	return c.remove(key, ifRevision, true)
}

// Apply applies the operations. ErrRevisionMismatch and ErrKeyExists say which operation conflicts in Error.OperationIndex, Error.Key and
// Error.Revision; nothing was written then. ErrRevisionCompacted: whether a filter's keys changed can't be determined any more.
func (c *Commit) Apply(ctx context.Context) (*CommitResult, error) {
	b := c.bucket
	request := &kvv1.CommitRequest{
		Bucket: b.name, Operations: c.operations, IdempotencyKey: b.newIdempotencyKey(),
	}
	result := &CommitResult{}
	_, err := b.write(ctx, "", request.IdempotencyKey, func(ctx context.Context) (uint64, error) {
		response, err := b.keys.Commit(ctx, request)
		result.Revision, result.Revisions = response.GetRevision(), response.GetRevisions()
		return result.Revision, err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

func (c *Commit) check(check *kvv1.CommitRequest_Check) *Commit {
	return c.add(&kvv1.CommitRequest_Operation{Operation: &kvv1.CommitRequest_Operation_Check{Check: check}})
}

func (c *Commit) put(key string, value []byte, precondition *kvv1.Precondition, options PutOptions) *Commit {
	put := &kvv1.CommitRequest_Put{
		Key: key, Value: value, Precondition: precondition,
		ContentType: options.ContentType, Ttl: ttlOf(options.TTL), Metadata: options.Metadata,
	}
	return c.add(&kvv1.CommitRequest_Operation{Operation: &kvv1.CommitRequest_Operation_Put{Put: put}})
}

func (c *Commit) remove(key string, ifRevision uint64, purge bool) *Commit {
	remove := &kvv1.CommitRequest_Delete{Key: key, Purge: purge, IfRevision: ifRevision}
	return c.add(&kvv1.CommitRequest_Operation{Operation: &kvv1.CommitRequest_Operation_Delete{Delete: remove}})
}

func (c *Commit) add(operation *kvv1.CommitRequest_Operation) *Commit {
	c.operations = append(c.operations, operation)
	return c
}
