// Package shop holds the contracts that the services of the quickstart share. In a real system it is a package that every
// program of the system imports.
package shop

import (
	"github.com/hocket-go/hocket/events"
	"github.com/hocket-go/hocket/rpc"
)

// CreateOrder asks for an order.
type CreateOrder struct {
	RequestID string `json:"requestId"`
	SKU       string `json:"sku"`
	Quantity  int    `json:"quantity"`
}

// Order is what was ordered.
type Order struct {
	ID    string `json:"id"`
	SKU   string `json:"sku"`
	Total int    `json:"total"`
}

// OrderPlaced says that an order was accepted.
type OrderPlaced struct {
	OrderID string `json:"orderId"`
	Total   int    `json:"total"`
}

// The contracts.
var (
	Create = rpc.NewMethod[CreateOrder, Order]("orders.Create")
	Placed = events.NewType[OrderPlaced]("shop.order.placed").KeyedBy(func(e OrderPlaced) string { return e.OrderID })
)
