package codec_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hocket-go/hocket/codec"
)

type echo struct {
	ID   string   `json:"id"`
	Seq  int64    `json:"seq"`
	Tags []string `json:"tags"`
	Body string   `json:"body"`
}

type benchSize struct {
	name  string
	value any
	fresh func() any
}

func benchSizes() []benchSize {
	fresh := func() any { return new(echo) }
	wide := make([]echo, 200)
	for i := range wide {
		wide[i] = echo{ID: "o-1", Seq: int64(i), Tags: []string{"eu"}, Body: strings.Repeat("x", 20)}
	}
	return []benchSize{
		{"0B", new(struct{}), func() any { return new(struct{}) }}, // the cost beside the work
		{"128B", &echo{ID: "order-4711", Seq: 42, Tags: []string{"eu", "b"}, Body: strings.Repeat("x", 73)}, fresh},
		{"1KiB", &echo{ID: "order-4711", Seq: 42, Tags: []string{"eu", "b"}, Body: strings.Repeat("x", 960)}, fresh},
		{"200objects", &wide, func() any { return new([]echo) }},
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range benchSizes() {
		b.Run("encoding-json/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(size.value); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
			b.Run(f.Name()+"-marshal/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := f.Marshal(size.value); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(f.Name()+"-append/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				dst := make([]byte, 0, 64<<10)
				for b.Loop() {
					if _, err := f.Append(dst, size.value); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range benchSizes() {
		data, err := json.Marshal(size.value)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encoding-json/"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := json.Unmarshal(data, size.fresh()); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, f := range []codec.Format{codec.JSON(), codec.MsgPack(), codec.CBOR()} {
			data, err := f.Marshal(size.value)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(f.Name()+"/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f.Unmarshal(data, size.fresh()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkByContentType(b *testing.B) {
	set := codec.Default()
	for _, contentType := range []string{"application/json", "Application/JSON; charset=utf-8", "application/problem+json"} {
		b.Run(contentType, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.ByContentType(contentType); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
