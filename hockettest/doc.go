// Package hockettest runs a service in a test, on a real broker that is the test's own.
//
//	func TestOrders(t *testing.T) {
//		t.Parallel()
//		svc := hockettest.New(t, "orders", func(svc *hocket.Service) {
//			shop.Create.Handle(svc, create)
//		})
//		_, err := shop.Create.Call(t.Context(), svc, shop.CreateOrder{})
//		require.Equal(t, rpc.InvalidArgument, rpc.CodeOf(err))
//
//		svc.Broker.Restart() // and everything above still holds
//	}
//
// The broker keeps its data in the test's temporary directory, writes its log to the test's, opens no port and is ready in
// milliseconds, so that every test can have one. It is durable as any other: what a test is told was stored is still there
// after [Broker.Kill].
//
// [Open] adds another service to a broker, [NewCluster] makes three nodes of one, and [Service.Link] cuts a service off.
// What fails to start or to end in good order fails the test.
package hockettest
