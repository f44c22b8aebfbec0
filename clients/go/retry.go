package ironflow

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
)

const (
	defaultAttempts = 6
	// The bounds of the delay before a retry: doubled with each one, random below it.
	retryDelayFirst = 100 * time.Millisecond
	retryDelayMax   = 3 * time.Second
	// How long the service remembers a write, until a response has the actual window.
	defaultWindow = time.Minute
)

// caller makes calls: API key, time limit, retries, errors.
type caller struct {
	config ClientConfig
	keys   *keyGenerator
	// err is the error of a malformed configuration.
	err  error
	seen sync.Map // bucket name -> the newest revision that this client has seen
}

// call describes one call for its retries and errors.
type call struct {
	bucket, key string
	// isIdempotent: repeating the call is harmless. Other calls are repeated only with an idempotency key.
	isIdempotent   bool
	idempotencyKey string
}

// do runs attempts until one succeeds, fails for good, or the time or the attempts are used up.
func (c *caller) do(ctx context.Context, call call, attempt func(context.Context) error) error {
	if c.err != nil {
		return c.err
	}
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
		ctx = limited
	}
	seen, _ := c.seen.Load(call.bucket)
	seenRevision, _ := seen.(uint64)
	attempts := writeAttempts{start: time.Now(), window: defaultWindow, seenRevision: seenRevision}
	for failures := 1; ; failures++ {
		err := attempt(attempts.annotate(c.authorize(ctx), failures-1))
		if err == nil {
			return nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		failure := errorOf(err, call)
		delay := retryDelay(failures) + failure.RetryAfter
		mayRetry := attempts.record(failure, call, delay)
		if !mayRetry || failures >= c.config.Attempts || !sleep(ctx, delay) {
			return attempts.final(failure)
		}
	}
}

func (c *caller) authorize(ctx context.Context) context.Context {
	if c.config.Environment != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-ironflow-environment", c.config.Environment)
	}
	if c.config.APIKey == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.config.APIKey)
}

func (c *caller) recordRevision(bucket string, revision uint64) {
	for {
		seen, ok := c.seen.LoadOrStore(bucket, revision)
		if !ok || seen.(uint64) >= revision || c.seen.CompareAndSwap(bucket, seen, revision) {
			return
		}
	}
}

// writeAttempts holds what the service must know to recognise a retry: see KeyValueService.
type writeAttempts struct {
	start        time.Time
	window       time.Duration
	seenRevision uint64
	// firstAttemptMs is the earliest possible time of the first attempt by the storage's clock; 0: not known yet.
	firstAttemptMs int64
	unknown        *Error
}

// record returns whether the call may be repeated after the delay.
func (a *writeAttempts) record(failure *Error, call call, delay time.Duration) bool {
	if failure.Reason == reasonOutcomeUnknown {
		if a.unknown == nil {
			a.unknown = failure
		}
		if failure.IdempotencyWindow > 0 {
			a.window = failure.IdempotencyWindow
		}
		if a.firstAttemptMs == 0 && !failure.StorageTime.IsZero() {
			a.firstAttemptMs = failure.StorageTime.Add(-a.age()).UnixMilli()
		}
	} else if !failure.Retryable {
		return false
	}
	// The service applies a retry only within half of the window.
	return a.unknown == nil || (call.idempotencyKey != "" && a.age()+delay < a.window/2)
}

func (a *writeAttempts) annotate(ctx context.Context, failures int) context.Context {
	if a.unknown == nil {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx,
		"grpc-previous-rpc-attempts", strconv.Itoa(failures),
		"ironflow-first-attempt-time-ms", strconv.FormatInt(a.firstAttemptMs, 10),
		"ironflow-seen-revision", strconv.FormatUint(a.seenRevision, 10))
}

// final returns the error of the call: an earlier attempt may have been applied even if the last one was refused.
func (a *writeAttempts) final(failure *Error) error {
	if a.unknown == nil || definitiveReasons[failure.Reason] {
		return failure
	}
	return a.unknown
}

// age includes the time that the machine slept: Round removes the monotonic clock.
func (a *writeAttempts) age() time.Duration {
	now := time.Now()
	return max(now.Sub(a.start), now.Round(0).Sub(a.start.Round(0)))
}

// retryDelay is random, so that clients that were disconnected together do not retry together.
func retryDelay(failures int) time.Duration {
	bound := min(retryDelayMax, retryDelayFirst<<min(failures-1, 10))
	return time.Duration(mathrand.Int64N(int64(bound)))
}

// sleep returns false if the context ends before the time is up.
func sleep(ctx context.Context, delay time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= delay {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// keyGenerator generates unique idempotency keys: a random prefix and a counter.
type keyGenerator struct {
	prefix string
	count  atomic.Uint64
}

func newKeyGenerator() *keyGenerator {
	random := make([]byte, 15)
	rand.Read(random)
	return &keyGenerator{prefix: base64.StdEncoding.EncodeToString(random)}
}

func (g *keyGenerator) next() string {
	return g.prefix + strconv.FormatUint(g.count.Add(1), 36)
}
