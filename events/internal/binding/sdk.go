package binding

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// FromSDK converts an event of the CloudEvents SDK and checks it. Extensions are ordered by name. The data is shared.
func FromSDK(in event.Event) (Event, error) {
	if in.Context == nil {
		return Event{}, invalid("specversion", "required, but missing")
	}
	if v := in.SpecVersion(); v != SpecVersion {
		return Event{}, invalid("specversion", "%q is not supported, only %s is", bounded(v), SpecVersion)
	}
	for name, err := range in.FieldErrors { // what a setter of the SDK refused and kept for later
		return Event{}, invalid(name, "%v", err)
	}
	out := Event{
		ID: in.ID(), Source: in.Source(), Type: in.Type(), Subject: in.Subject(),
		DataContentType: in.DataContentType(), DataSchema: in.DataSchema(), Time: in.Time(), Data: in.Data(),
	}
	for name, value := range in.Extensions() {
		a := Attribute{Name: strings.ToLower(name)}
		switch value.(type) {
		case bool:
			a.Kind = Boolean
		case int32:
			a.Kind = Integer
		}
		var err error
		if a.Value, err = types.Format(value); err != nil {
			return Event{}, invalid(a.Name, "%T is no type of an attribute", value)
		}
		out.Extensions = append(out.Extensions, a)
	}
	slices.SortFunc(out.Extensions, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
	if err := out.Validate(); err != nil {
		return Event{}, err
	}
	return out, nil
}

// SDK converts the event to one of the CloudEvents SDK. The data is shared.
func (e *Event) SDK() (event.Event, error) {
	source := types.ParseURIRef(e.Source)
	if source == nil {
		return event.Event{}, invalid("source", "not a URI-reference")
	}
	ec := &event.EventContextV1{ID: e.ID, Source: *source, Type: e.Type}
	if e.Subject != "" {
		ec.Subject = &e.Subject
	}
	if e.DataContentType != "" {
		ec.DataContentType = &e.DataContentType
	}
	if e.DataSchema != "" {
		ec.DataSchema = types.ParseURI(e.DataSchema)
	}
	if !e.Time.IsZero() {
		ec.Time = &types.Timestamp{Time: e.Time}
	}
	for _, a := range e.Extensions {
		value, err := a.native()
		if err != nil {
			return event.Event{}, err
		}
		if err := ec.SetExtension(a.Name, value); err != nil {
			return event.Event{}, fmt.Errorf("cloudevents: attribute %s: %w", printable(a.Name), err)
		}
	}
	return event.Event{Context: ec, DataEncoded: e.Data, DataBase64: e.DataContentType != "" && !isText(e.DataContentType)}, nil
}

func (a Attribute) native() (any, error) {
	switch a.Kind {
	case Boolean:
		return a.Value == "true", nil
	case Integer:
		n, err := strconv.ParseInt(a.Value, 10, 32)
		if err != nil {
			return nil, invalid(a.Name, "%q is not an integer of 32 bits", bounded(a.Value))
		}
		return int32(n), nil
	default:
		return a.Value, nil
	}
}

// isText reports whether data of that content type can stand in the JSON event format as it is.
func isText(contentType string) bool {
	return isJSON(contentType) || strings.HasPrefix(mediaType(contentType), "text/")
}

// FormatValue returns the attribute for a Go value: bool, an integer that fits 32 bits, string, []byte, time.Time,
// url.URL, and the types of the CloudEvents SDK.
func FormatValue(name string, value any) (Attribute, error) {
	if err := CheckExtensionName(name); err != nil {
		return Attribute{}, err
	}
	a := Attribute{Name: name}
	if s, ok := value.(string); ok {
		a.Value = s
		return a, checkString(name, s)
	}
	switch value.(type) {
	case nil, float32, float64: // the SDK cuts a fraction off silently
		return Attribute{}, invalid(name, "%T is no type of an attribute", value)
	}
	v, err := types.Validate(value)
	if err != nil || v == nil {
		return Attribute{}, invalid(name, "%T is no type of an attribute, or out of its range", value)
	}
	switch v.(type) {
	case bool:
		a.Kind = Boolean
	case int32:
		a.Kind = Integer
	}
	if a.Value, err = types.Format(v); err != nil {
		return Attribute{}, invalid(name, "%v", err)
	}
	return a, checkString(name, a.Value)
}
