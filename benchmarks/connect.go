package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

const connectProcedure = "/echo.Echo/Echo"

// openConnect is Connect with JSON over HTTP/1.1, with a pool of connections large enough for every caller.
func openConnect(ctx context.Context, _ *Site) (*Echoer, error) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return openConnectOver(ctx, &protocols)
}

// openConnectH2C is the same over HTTP/2 without TLS, on one connection.
func openConnectH2C(ctx context.Context, _ *Site) (*Echoer, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return openConnectOver(ctx, &protocols)
}

func openConnectOver(ctx context.Context, protocols *http.Protocols) (*Echoer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(connectProcedure, connect.NewUnaryHandler(connectProcedure,
		func(_ context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
			return connect.NewResponse(req.Msg), nil
		}, connect.WithCodec(connectJSON{})))
	server := &http.Server{Handler: mux, Protocols: protocols, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	transport := &http.Transport{Protocols: protocols, MaxIdleConnsPerHost: 1024}
	client := connect.NewClient[Message, Message](&http.Client{Transport: transport},
		"http://"+listener.Addr().String()+connectProcedure,
		connect.WithCodec(connectJSON{}),
		connect.WithAcceptCompression("gzip", nil, nil), // compressing a small answer on a loopback only costs
	)
	done := closers{
		func() error {
			err := server.Close()
			if served := <-served; !errors.Is(served, http.ErrServerClosed) {
				return errors.Join(err, served)
			}
			return err
		},
		func() error {
			transport.CloseIdleConnections()
			return nil
		},
	}
	return &Echoer{closers: done, echo: func(ctx context.Context, m Message) (Message, error) {
		resp, err := client.CallUnary(ctx, connect.NewRequest(&m))
		if err != nil {
			return Message{}, err
		}
		return *resp.Msg, nil
	}}, nil
}

// connectJSON lets Connect carry types that are no protobuf messages.
type connectJSON struct{}

var _ connect.Codec = connectJSON{}

func (connectJSON) Name() string                       { return "json" }
func (connectJSON) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (connectJSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
