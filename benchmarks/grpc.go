package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const grpcMethod = "/echo.Echo/Echo"

// openGRPC is gRPC over loopback TCP with the same JSON as everyone.
func openGRPC(ctx context.Context, _ *Site) (*Echoer, error) {
	return openGRPCOverTCP(ctx, grpcJSON)
}

// openGRPCProto is gRPC with protobuf, as it is mostly used.
func openGRPCProto(ctx context.Context, _ *Site) (*Echoer, error) {
	return openGRPCOverTCP(ctx, grpcProto)
}

// openGRPCMem is gRPC with JSON over a connection in memory.
func openGRPCMem(_ context.Context, _ *Site) (*Echoer, error) {
	listener := bufconn.Listen(1 << 20)
	return openGRPCOn(listener, grpcJSON, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	}))
}

func openGRPCOverTCP(ctx context.Context, how grpcEncoding) (*Echoer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return openGRPCOn(listener, how)
}

// grpcEncoding is the part of an echo that depends on what is on the wire.
type grpcEncoding struct {
	server  []grpc.ServerOption
	client  []grpc.DialOption
	handler grpc.MethodHandler
	echo    func(ctx context.Context, conn *grpc.ClientConn, m Message) (Message, error)
}

var grpcJSON = grpcEncoding{ //nolint:gochecknoglobals // a constant but for the language
	server: []grpc.ServerOption{grpc.ForceServerCodecV2(jsonCodec{})},
	client: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.ForceCodecV2(jsonCodec{}))},
	handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(Message)
		if err := decode(in); err != nil {
			return nil, err
		}
		return in, nil
	},
	echo: func(ctx context.Context, conn *grpc.ClientConn, m Message) (Message, error) {
		var out Message
		err := conn.Invoke(ctx, grpcMethod, &m, &out)
		return out, err
	},
}

var grpcProto = grpcEncoding{ //nolint:gochecknoglobals // a constant but for the language
	handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		return in, nil
	},
	echo: func(ctx context.Context, conn *grpc.ClientConn, m Message) (Message, error) {
		out := new(wrapperspb.StringValue)
		err := conn.Invoke(ctx, grpcMethod, wrapperspb.String(m.Text), out)
		return Message{Text: out.GetValue()}, err
	},
}

func openGRPCOn(listener net.Listener, how grpcEncoding, dial ...grpc.DialOption) (*Echoer, error) {
	server := grpc.NewServer(how.server...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "echo.Echo",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: how.handler}},
	}, struct{}{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	stop := func() error {
		server.Stop()
		return <-served
	}

	dial = append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), append(dial, how.client...)...)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	return &Echoer{closers: closers{stop, conn.Close}, echo: func(ctx context.Context, m Message) (Message, error) {
		return how.echo(ctx, conn, m)
	}}, nil
}

// jsonCodec lets gRPC carry JSON.
type jsonCodec struct{}

var _ encoding.CodecV2 = jsonCodec{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(v any) (mem.BufferSlice, error) {
	data, err := json.Marshal(v)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (jsonCodec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return json.Unmarshal(buf.ReadOnlyData(), v)
}
