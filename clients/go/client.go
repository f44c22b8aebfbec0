package ironflow

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	kvv1 "github.com/ironflow-kv/ironflow-kv/clients/go/gen/ironflow/kv/v1"
)

const (
	defaultServerURL = "http://localhost:9123"
	defaultTimeout   = 10 * time.Second
	// Pings while calls are in flight: a dead connection is noticed after this and pingTimeout.
	pingInterval = 20 * time.Second
	pingTimeout  = 5 * time.Second
	// The largest message to accept. The service keeps pages below 4 MiB; a single value may be larger.
	messageBytesMax = 64 << 20
)

// ClientConfig configures a Client. The zero value connects to http://localhost:9123 without an API key.
type ClientConfig struct {
	// ServerURL is the service's URL: http (HTTP/2 without TLS) or https. Default: http://localhost:9123.
	ServerURL string
	// APIKey is sent with every call. Empty: none.
	APIKey string
	// Environment is the namespace of the buckets: 1 to 32 letters, digits or '-'. Empty: the default one.
	Environment string
	// Timeout limits a call whose context has no deadline, including its retries. Default: 10 seconds.
	Timeout time.Duration
	// TLS configures an https connection: authorities, client certificates. Default: the system's authorities.
	TLS *tls.Config
	// Attempts is the number of attempts of a call, including the first. 1: no retries. Default: 6.
	Attempts int
	// DialOptions are added to those of the connection.
	DialOptions []grpc.DialOption
}

// Client is a client of the service. It is safe for concurrent use, and connects at the first call.
type Client struct {
	kv         *KV
	connection *grpc.ClientConn
}

// NewClient creates a client. A malformed configuration is reported by Close and by every call.
func NewClient(config ClientConfig) *Client {
	if config.Timeout <= 0 {
		config.Timeout = defaultTimeout
	}
	if config.Attempts <= 0 {
		config.Attempts = defaultAttempts
	}
	caller := &caller{config: config, keys: newKeyGenerator()}
	connection, err := dial(config)
	if err != nil {
		caller.err = err
		return &Client{kv: &KV{caller: caller}}
	}
	return &Client{
		connection: connection,
		kv: &KV{
			caller:  caller,
			buckets: kvv1.NewBucketServiceClient(connection),
			keys:    kvv1.NewKeyValueServiceClient(connection),
		},
	}
}

// KV manages buckets and gives access to their keys.
func (c *Client) KV() *KV { return c.kv }

// Close closes the connection. Calls in flight fail.
func (c *Client) Close() error {
	if c.connection == nil {
		return c.kv.caller.err
	}
	return c.connection.Close()
}

func dial(config ClientConfig) (*grpc.ClientConn, error) {
	serverURL := config.ServerURL
	if serverURL == "" {
		serverURL = defaultServerURL
	}
	parsed, err := url.Parse(serverURL)
	if err != nil || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" ||
		(parsed.Path != "" && parsed.Path != "/") {
		return nil, fmt.Errorf("ServerURL is %q; it must be a URL such as %s", serverURL, defaultServerURL)
	}
	var transport credentials.TransportCredentials
	port := "80"
	switch parsed.Scheme {
	case "http":
		transport = insecure.NewCredentials()
	case "https":
		transport, port = credentials.NewTLS(config.TLS), "443"
	default:
		return nil, fmt.Errorf("ServerURL is %q; its scheme must be http or https", serverURL)
	}
	if parsed.Port() != "" {
		port = parsed.Port()
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingInterval, Timeout: pingTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
		// The caller retries: grpc-go does not know the contract's idempotency keys.
		grpc.WithDisableRetry(),
	}
	target := "dns:///" + net.JoinHostPort(parsed.Hostname(), port)
	return grpc.NewClient(target, append(options, config.DialOptions...)...)
}
