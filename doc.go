// Package hocket is the convenient way to hold a service together: one connection to NATS, the parts of Hocket wired to
// it, and start, run, drain and close in the right order.
//
//	svc, err := hocket.Open(ctx, "orders", nil) // a broker inside, unless NATS_URL names one
//	if err != nil {
//		return err
//	}
//	defer svc.Close()
//
//	shop.Create.Handle(svc, create)
//	if _, err := shop.Placed.Subscribe(ctx, svc, "billing", charge); err != nil {
//		return err
//	}
//	return svc.Run(ctx) // until SIGTERM, then drains; nil is a clean end
//
// A [*Service] stands wherever a part of Hocket is wanted, as the contracts of the packages rpc and events do.
// Nothing needs it: every part works on a plain *nats.Conn too.
//
// # Which broker
//
// With nothing said, the broker runs inside the process and keeps its data below a directory of the user that belongs to
// the program's main module, so that unrelated programs share nothing; the programs of one module on one machine share one
// broker, whichever of them runs it. HOCKET_DATA names another directory. [Options].URL, or NATS_URL, is a broker outside,
// and nothing else changes: one machine, a cluster, a leaf node or a supercluster. [Service.Durability] tells what an
// acknowledgement of that broker is worth.
//
// A test names its broker, which is what package hockettest is for.
//
// # How it ends
//
// [Service.Run] drains when its context ends or the process is told to stop: intake stops, what was accepted is finished,
// what was sent is flushed, then the connection and the broker close. [Service.Drain] does the same on demand, and
// [Service.Close] without waiting for handlers. A second signal ends the process at once.
package hocket
