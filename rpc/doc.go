// Package rpc makes typed calls between services over NATS.
//
// A method is declared once, as a value in a package that both sides import, and is all that they share:
//
//	var Create = rpc.NewMethod[CreateOrder, Order]("orders.Create")
//
// A [Server] on a live connection serves it, in the queue group of its service, so that instances share the load; a
// [Client] calls it:
//
//	server, err := rpc.NewServer(nc, "orders", nil)
//	Create.Handle(server, func(ctx context.Context, in CreateOrder) (Order, error) { … })
//	err = server.Start(ctx)
//	defer server.Drain(ctx)
//
//	client, err := rpc.NewClient(nc, "storefront", nil)
//	order, err := Create.Call(ctx, client, CreateOrder{SKU: "a", Quantity: 1})
//
// Where a Server or a Client is wanted, anything that has one will do, a *hocket.Service among them. From a shell, with no
// library and no header, JSON in and JSON out: nats req rpc.orders.Create '{"SKU":"a"}'.
//
// # How a call ends
//
// Exactly once, with a reply, a remote error or a local error, all of them an [*Error] with one of the sixteen canonical
// codes; [CodeOf] tells which. When nobody serves the method the answer is [Unavailable], in milliseconds. When the reply
// does not arrive in time, or the caller gives up, the call may have been carried out or not, and the error matches
// [ErrUnknown] besides context.DeadlineExceeded or context.Canceled; so it does, with [ErrClosed], when the client or the
// connection is closed meanwhile. A handler that panics answers [Internal] at once; the
// stack goes to the server's log only.
//
// The caller's deadline reaches the handler's context, as a duration so that clocks need not agree, and so does its
// cancellation; a call that is given up while it waits for a handler gets none. A call whose context has no deadline gets
// [ClientOptions].Timeout.
//
// # Who runs a handler
//
// Handlers run one beside the other, up to [ServerOptions].MaxInFlight. A handler that returns within microseconds runs on
// the goroutine that reads the calls, which is the fastest; as soon as one is measured to take longer, calls of its method
// get goroutines of their own, and one that blocks unexpectedly is noticed within a millisecond and no longer holds up
// others. Calls beyond the limit wait, and beyond [ServerOptions].MaxQueue are refused with [ResourceExhausted].
//
// # Stopping
//
// [Server.Drain] stops the intake, finishes every call that was accepted, and leaves no goroutine behind. [Server.Close]
// cancels the handlers' contexts first. Neither closes the connection.
package rpc
