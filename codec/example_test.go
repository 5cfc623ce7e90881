package codec_test

import (
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/hocket-go/hocket/codec"
)

func Example() {
	type order struct {
		ID    string   `json:"id"`
		Items []string `json:"items"`
	}
	set := codec.Default()

	f, err := set.ByContentType("application/json; charset=utf-8") // from a header
	if err != nil {
		fmt.Println(err)
		return
	}
	var o order
	if err = f.Unmarshal([]byte(`{"id":"o-1","items":["a","b"]}`), &o); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(o.ID, o.Items)

	if f, err = set.ByName("cbor"); err != nil {
		fmt.Println(err)
		return
	}
	data, err := f.Marshal(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %d bytes\n", f.ContentType(), len(data))

	_, err = set.ByContentType("application/xml")
	fmt.Println(errors.Is(err, codec.ErrUnknownFormat))
	// Output:
	// o-1 [a b]
	// application/cbor: 19 bytes
	// true
}

// xmlCodec needs two methods to be a codec.
type xmlCodec struct{}

func (xmlCodec) Marshal(v any) ([]byte, error)      { return xml.Marshal(v) }
func (xmlCodec) Unmarshal(data []byte, v any) error { return xml.Unmarshal(data, v) }

func ExampleNewFormat() {
	xmlFormat, err := codec.NewFormat("xml", "application/xml", xmlCodec{}, "text/xml", "+xml")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := codec.Default().With(xmlFormat)
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := set.ByContentType("application/atom+xml")
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := f.Marshal(struct {
		XMLName xml.Name `xml:"order"`
		ID      string   `xml:"id,attr"`
	}{ID: "o-1"})
	fmt.Println(string(data), err)
	// Output:
	// <order id="o-1"></order> <nil>
}

func ExampleFormat_WithLimits() {
	f := codec.JSON().WithLimits(codec.Limits{MaxBytes: 1 << 10, MaxDepth: 3})
	var v any
	err := f.Unmarshal([]byte(`[[[[]]]]`), &v)
	fmt.Println(errors.Is(err, codec.ErrTooDeep))
	fmt.Println(err)
	// Output:
	// true
	// codec: json: decode into interface {}: nested too deep: more than 3 levels
}

func ExampleFormat_Append() {
	buf := make([]byte, 0, 1024)
	for i := range 2 {
		data, err := codec.JSON().Append(buf[:0], map[string]int{"n": i})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(data))
	}
	// Output:
	// {"n":0}
	// {"n":1}
}
