package bson_test

import (
	"errors"
	"fmt"

	"github.com/hocket-go/hocket/codec"
	"github.com/hocket-go/hocket/codec/bson"
)

func ExampleBSON() {
	set, err := codec.Default().With(bson.BSON())
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := set.ByContentType("application/bson")
	if err != nil {
		fmt.Println(err)
		return
	}

	type stock struct {
		SKU string `json:"sku"` // json tags do for BSON too
	}
	data, err := f.Marshal(stock{SKU: "a"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", data)

	_, err = f.Marshal("just text")
	fmt.Println(errors.Is(err, codec.ErrUnsupportedType))
	// Output:
	// "\x10\x00\x00\x00\x02sku\x00\x02\x00\x00\x00a\x00\x00"
	// true
}
