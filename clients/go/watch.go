package ironflow

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

const (
	defaultProgressInterval = 15 * time.Second
	// A connection counts as dead after this many progress intervals without a message.
	idleIntervalsMax = 3
)

// Start is what a watch returns before the changes.
type Start = kvv1.WatchRequest_Start

const (
	// StartSnapshot: the current value of each matching key.
	StartSnapshot = kvv1.WatchRequest_START_SNAPSHOT
	// StartHistory: every stored revision of the matching keys.
	StartHistory = kvv1.WatchRequest_START_HISTORY
	// StartNow: nothing.
	StartNow = kvv1.WatchRequest_START_NOW
)

// WatchOptions selects what a watch returns. The zero value: the current values of all keys, then every change.
type WatchOptions struct {
	// Filters: keys that match at least one. None: all keys.
	Filters []string
	// Start: StartSnapshot if not set.
	Start Start
	// StartRevision starts with the first change at this revision or later, instead of Start.
	StartRevision uint64
	// IgnoreDeletes omits deletes, purges and expiries.
	IgnoreDeletes bool
	// KeysOnly omits values.
	KeysOnly bool
	// ProgressInterval: after three intervals without a message, the watch reconnects. Default: 15 seconds.
	ProgressInterval time.Duration
	// OnInterrupted is called before an interrupted watch resumes.
	OnInterrupted func(error)
}

// Event is a change of a key, a key of the snapshot, or the snapshot's end.
type Event struct {
	// Entry is nil at the snapshot's end.
	*Entry
	// SnapshotEnd: all current values were returned. It comes once, also for an empty bucket.
	SnapshotEnd bool
}

// Watch streams a bucket's changes in the order of their revisions. A broken connection or a restart of the service does not end it: it
// resumes after the last revision, without a gap. It ends when the loop ends or the context is done, and with an error if it can't resume:
// ErrBucketNotFound, ErrRevisionCompacted (start again from a snapshot), ErrRevisionInFuture (the bucket was recreated),
// ErrUnauthenticated, ErrPermissionDenied. The client's Timeout does not apply.
//
//	for event, err := range bucket.Watch(ctx, ironflow.WatchOptions{Filters: []string{"user.*"}}) {
func (b *Bucket) Watch(ctx context.Context, options WatchOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if b.caller.err != nil {
			yield(Event{}, b.caller.err)
			return
		}
		if options.ProgressInterval <= 0 {
			options.ProgressInterval = defaultProgressInterval
		}
		position := newPosition(b, options)
		for failures := 1; ; failures++ {
			isDone, received, err := b.watchOnce(ctx, position, options, yield)
			if isDone || ctx.Err() != nil {
				return
			}
			if received {
				failures = 1
			}
			failure := errorOf(err, call{bucket: b.name, isIdempotent: true})
			if !canResume(failure, position.isEstablished) {
				yield(Event{}, failure)
				return
			}
			if options.OnInterrupted != nil {
				options.OnInterrupted(failure)
			}
			if !sleep(ctx, retryDelay(failures)+failure.RetryAfter) {
				return
			}
		}
	}
}

// watchOnce reads one stream until it breaks. isDone: the loop over the watch has ended.
func (b *Bucket) watchOnce(
	ctx context.Context, position *position, options WatchOptions, yield func(Event, error) bool,
) (isDone, received bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idleTimeout := options.ProgressInterval * idleIntervalsMax
	idle := time.AfterFunc(idleTimeout, func() { cancel(errSilent) })
	defer idle.Stop()
	request, err := position.request(ctx)
	if err != nil {
		return false, false, err
	}
	stream, err := b.keys.Watch(b.caller.authorize(ctx), request)
	for err == nil {
		var message *kvv1.WatchResponse
		message, err = stream.Recv()
		// The time that the application spends on an event is not silence.
		idle.Stop()
		if err != nil {
			break
		}
		received = true
		if event, ok := position.apply(message); ok && !yield(event, nil) {
			return true, received, nil
		}
		idle.Reset(idleTimeout)
	}
	if context.Cause(ctx) == errSilent {
		err = errSilent
	} else if errors.Is(err, io.EOF) {
		err = &Error{Code: codes.Unavailable, Message: "the service ended the watch without an error", Retryable: true}
	}
	return false, received, err
}

var errSilent = &Error{
	Code:      codes.Unavailable,
	Message:   "the service sent no progress event in time; the connection counts as dead",
	Retryable: true,
}

func canResume(failure *Error, isEstablished bool) bool {
	if failure.Reason == "too_many_watches" {
		return isEstablished
	}
	return failure.Retryable || failure.Code == codes.Canceled
}

// position is where a watch resumes. Revisions are complete also within the snapshot, which is in their order: what a broken snapshot lacks
// has a higher revision, or was replaced by a write with a higher one.
type position struct {
	bucket  *Bucket
	options WatchOptions
	// next is the revision to resume from; 0: nothing was received yet.
	next          uint64
	createdAt     *timestamppb.Timestamp
	lastChange    time.Time
	hasEnded      bool
	isEstablished bool
}

func newPosition(bucket *Bucket, options WatchOptions) *position {
	return &position{bucket: bucket, options: options, next: options.StartRevision}
}

func (p *position) request(ctx context.Context) (*kvv1.WatchRequest, error) {
	request := &kvv1.WatchRequest{
		Bucket:           p.bucket.name,
		Filters:          p.options.Filters,
		IgnoreDeletes:    p.options.IgnoreDeletes,
		KeysOnly:         p.options.KeysOnly,
		ProgressInterval: durationpb.New(p.options.ProgressInterval),
	}
	isNow := p.next == 0 && p.options.Start == StartNow
	if isNow || (p.createdAt == nil && !p.lastChange.IsZero()) {
		if err := p.findBucket(ctx); err != nil {
			return nil, err
		}
	}
	if p.next == 0 {
		request.Start = max(p.options.Start, StartSnapshot)
		return request, nil
	}
	request.StartRevision = p.next
	request.BucketCreatedAt = p.createdAt
	return request, nil
}

// findBucket turns `now` into a revision, which survives a broken connection, and refuses a bucket that was recreated during the snapshot.
func (p *position) findBucket(ctx context.Context) error {
	info, err := p.bucket.kv.GetBucketInfo(ctx, p.bucket.name)
	if err != nil {
		return err
	}
	if !p.lastChange.IsZero() && info.CreatedAt.After(p.lastChange) {
		return &Error{
			Code:     codes.OutOfRange,
			Reason:   "revision_in_future",
			Message:  "the bucket was deleted and recreated during the watch; start a new watch from a snapshot",
			Bucket:   p.bucket.name,
			Revision: info.Revision,
		}
	}
	if p.next == 0 {
		p.next = info.Revision + 1
	}
	p.createdAt = timestamppb.New(info.CreatedAt)
	return nil
}

// apply advances the position. It returns false for messages that are no event.
func (p *position) apply(message *kvv1.WatchResponse) (Event, bool) {
	p.isEstablished = true
	switch event := message.GetEvent().(type) {
	case *kvv1.WatchResponse_Change_:
		entry := entryOf(event.Change.GetEntry())
		p.lastChange = entry.CreatedAt
		p.next = max(p.next, entry.Revision+1)
		return Event{Entry: entry}, true
	case *kvv1.WatchResponse_SnapshotEnd_:
		p.next = max(p.next, event.SnapshotEnd.GetRevision()+1)
		if p.createdAt == nil {
			p.createdAt = event.SnapshotEnd.GetBucketCreatedAt()
		}
		isFirst := !p.hasEnded
		p.hasEnded = true
		return Event{SnapshotEnd: true}, isFirst
	case *kvv1.WatchResponse_Progress_:
		p.next = max(p.next, event.Progress.GetRevision()+1)
	}
	return Event{}, false
}
