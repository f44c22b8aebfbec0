package ironflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"

	ironflow "github.com/ironflow-kv/ironflow-kv/clients/go"
)

// proxy passes TCP connections on to the service, and cuts them.
type proxy struct {
	listener net.Listener
	mutex    sync.Mutex
	sockets  []net.Conn
	// loseAnswers: requests pass, answers do not.
	loseAnswers bool
	// lost gets a value for each answer that was lost.
	lost chan struct{}
}

func startProxy(t *testing.T) (*proxy, *ironflow.Client) {
	t.Helper()
	newClient(t) // Skips without a service.
	service, err := url.Parse(os.Getenv("IRONFLOW_SERVER"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, lost: make(chan struct{}, 1_000)}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", service.Host)
			if err != nil {
				client.Close()
				continue
			}
			p.mutex.Lock()
			p.sockets = append(p.sockets, client, upstream)
			p.mutex.Unlock()
			go func() { io.Copy(upstream, client); upstream.Close() }()
			go func() { io.Copy(&answers{p, client}, upstream); client.Close() }()
		}
	}()
	client := ironflow.NewClient(ironflow.ClientConfig{ServerURL: "http://" + listener.Addr().String()})
	t.Cleanup(func() { client.Close(); listener.Close(); p.cut() })
	return p, client
}

type answers struct {
	proxy  *proxy
	client net.Conn
}

func (a *answers) Write(bytes []byte) (int, error) {
	a.proxy.mutex.Lock()
	lose := a.proxy.loseAnswers
	a.proxy.mutex.Unlock()
	if lose {
		a.proxy.lost <- struct{}{}
		return len(bytes), nil
	}
	return a.client.Write(bytes)
}

func (p *proxy) setLoseAnswers(lose bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.loseAnswers = lose
}

func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, socket := range p.sockets {
		socket.Close()
	}
	p.sockets = nil
}

func TestWatchResumesWithoutGapsAndDuplicates(t *testing.T) {
	p, client := startProxy(t)
	direct := newBucket(t, newClient(t))
	const count = 200
	go func() {
		for index := range count {
			direct.Put(context.Background(), fmt.Sprintf("k.%d", index), []byte("v"))
		}
	}()
	interruptions := 0
	options := ironflow.WatchOptions{OnInterrupted: func(error) { interruptions++ }}
	next := uint64(1)
	for event, err := range client.KV().Bucket(direct.Name()).Watch(t.Context(), options) {
		if err != nil {
			t.Fatal(err)
		}
		if event.SnapshotEnd {
			continue
		}
		if event.Revision != next {
			t.Fatalf("revision %d instead of %d", event.Revision, next)
		}
		if next == count {
			break
		}
		if next%50 == 0 {
			p.cut()
		}
		next++
	}
	if interruptions == 0 {
		t.Error("the watch was never interrupted")
	}
}

func TestWriteWhoseAnswerIsLostIsAppliedOnce(t *testing.T) {
	p, client := startProxy(t)
	direct := newBucket(t, newClient(t))
	bucket := client.KV().Bucket(direct.Name())
	must(bucket.Put(t.Context(), "k", []byte("1")))(t)
	p.setLoseAnswers(true)
	done := make(chan error)
	var revision uint64
	go func() {
		var err error
		revision, err = bucket.Put(t.Context(), "k", []byte("2"))
		done <- err
	}()
	// The write is applied, and its answer lost.
	for len(must(direct.History(t.Context(), "k"))(t)) < 2 {
	}
	<-p.lost
	p.setLoseAnswers(false)
	p.cut()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if history := must(direct.History(t.Context(), "k"))(t); len(history) != 2 || history[1].Revision != revision {
		t.Errorf("%d entries, revision %d", len(history), revision)
	}
}

func TestWriteWithoutRetriesReportsAnUnknownOutcome(t *testing.T) {
	p, _ := startProxy(t)
	direct := newBucket(t, newClient(t))
	client := ironflow.NewClient(ironflow.ClientConfig{ServerURL: "http://" + p.listener.Addr().String(), Attempts: 1})
	t.Cleanup(func() { client.Close() })
	bucket := client.KV().Bucket(direct.Name())
	must(bucket.Put(t.Context(), "k", []byte("1")))(t)
	p.setLoseAnswers(true)
	done := make(chan error)
	go func() {
		_, err := bucket.Put(t.Context(), "k", []byte("2"))
		done <- err
	}()
	<-p.lost
	p.cut()
	if err := <-done; !errors.Is(err, ironflow.ErrOutcomeUnknown) {
		t.Errorf("the write returned %v", err)
	}
}
