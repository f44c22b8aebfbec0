package ironflow

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

// Errors to compare with errors.Is. errors.As with *Error gives the details.
var (
	ErrBucketNotFound    = errors.New("the bucket does not exist")
	ErrKeyNotFound       = errors.New("the key has no value")
	ErrBucketExists      = errors.New("the bucket exists")
	ErrKeyExists         = errors.New("the key has a value")
	ErrRevisionMismatch  = errors.New("the key's newest revision is another one")
	ErrRevisionCompacted = errors.New("the revision is no longer stored")
	ErrRevisionInFuture  = errors.New("the revision is not written yet")
	ErrTTLNotSupported   = errors.New("a TTL of a value needs a bucket with a history of 1")
	ErrOutcomeUnknown    = errors.New("the write may have been applied")
	ErrInvalidArgument   = errors.New("the request is malformed")
	ErrUnauthenticated   = errors.New("the API key is missing or invalid")
	ErrPermissionDenied  = errors.New("the API key does not allow the call")
	ErrUnavailable       = errors.New("the service or its storage can't be reached")
)

const reasonOutcomeUnknown = "outcome_unknown"

var sentinelByReason = map[string]error{
	"bucket_not_found":   ErrBucketNotFound,
	"key_not_found":      ErrKeyNotFound,
	"bucket_exists":      ErrBucketExists,
	"key_exists":         ErrKeyExists,
	"revision_mismatch":  ErrRevisionMismatch,
	"revision_compacted": ErrRevisionCompacted,
	"revision_in_future": ErrRevisionInFuture,
	"ttl_not_supported":  ErrTTLNotSupported,
	reasonOutcomeUnknown: ErrOutcomeUnknown,
}

var sentinelByCode = map[codes.Code]error{
	codes.InvalidArgument:  ErrInvalidArgument,
	codes.Unauthenticated:  ErrUnauthenticated,
	codes.PermissionDenied: ErrPermissionDenied,
	codes.Unavailable:      ErrUnavailable,
}

// transientReasons are those of limits that pass; a call that one refuses had no effect.
var transientReasons = map[string]bool{"rate_limited": true, "too_many_watches": true, "slow_watcher": true}

// definitiveReasons are those of refusals that prove that no earlier attempt was applied.
var definitiveReasons = map[string]bool{
	"key_exists": true, "revision_mismatch": true, "bucket_full": true, "storage_exhausted": true,
	"idempotency_key_reused": true,
}

// Error is a failed call.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is one of docs/errors.md, such as revision_mismatch. Empty if the service sent none. New ones may be added.
	Reason  string
	Message string
	// Bucket and Key are those that the call named, if any.
	Bucket, Key string
	// Revision depends on the reason: the key's current one for revision_mismatch and key_exists, the oldest usable one for
	// revision_compacted, the newest for revision_in_future. 0 if there is none.
	Revision uint64
	// OperationIndex is the position of the operation of a commit that caused the error, from 0. Nil: none did.
	OperationIndex *uint32
	// RetryAfter is how long to wait before a retry, if the service said so.
	RetryAfter time.Duration
	// Retryable: the call may be repeated without applying a write twice.
	Retryable bool
	// IdempotencyWindow and StorageTime come with outcome_unknown: see ErrorDetail in the contract.
	IdempotencyWindow time.Duration
	StorageTime       time.Time

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns gRPC's error, for status.FromError.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether the error is one of the Err variables.
func (e *Error) Is(target error) bool {
	if sentinel, ok := sentinelByReason[e.Reason]; ok {
		return target == sentinel
	}
	sentinel, ok := sentinelByCode[e.Code]
	return ok && target == sentinel
}

// errorOf converts gRPC's error of a call.
func errorOf(err error, call call) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	received := status.Convert(err)
	for _, one := range received.Details() {
		if detail, ok := one.(*kvv1.ErrorDetail); ok {
			return errorWithDetail(received, detail, err)
		}
	}
	return errorWithoutDetail(received, call, err)
}

func errorWithDetail(received *status.Status, detail *kvv1.ErrorDetail, cause error) *Error {
	code := received.Code()
	failure := &Error{
		Code:              code,
		Reason:            detail.GetReason(),
		Message:           received.Message(),
		Bucket:            detail.GetBucket(),
		Key:               detail.GetKey(),
		Revision:          detail.GetRevision(),
		OperationIndex:    detail.OperationIndex,
		RetryAfter:        detail.GetRetryAfter().AsDuration(),
		Retryable:         code == codes.Unavailable || code == codes.DeadlineExceeded || transientReasons[detail.GetReason()],
		IdempotencyWindow: detail.GetIdempotencyWindow().AsDuration(),
		cause:             cause,
	}
	if detail.GetStorageTime() != nil {
		failure.StorageTime = detail.GetStorageTime().AsTime()
	}
	return failure
}

// errorWithoutDetail: a deadline, a broken connection, or an answer of something between client and service. gRPC does not tell whether the
// request was sent, so that the outcome of a write is unknown.
func errorWithoutDetail(received *status.Status, call call, cause error) *Error {
	code := received.Code()
	isBroken := code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled || code == codes.Unknown
	failure := &Error{Code: code, Message: received.Message(), Bucket: call.bucket, Key: call.key, cause: cause}
	switch {
	case !isBroken:
	case call.isIdempotent:
		failure.Retryable = true
	default:
		failure.Code, failure.Reason = codes.Unknown, reasonOutcomeUnknown
		failure.Message = fmt.Sprintf("%s; whether the change was made is unknown", received.Message())
	}
	return failure
}
