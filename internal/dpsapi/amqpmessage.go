package dpsapi

import (
	"bytes"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

// Application properties of a request (dps 2.5). iotdps-forceRegistration asks
// for what every register does and is not looked at.
const (
	typeKey      = "iotdps-operation-type"
	operationKey = "iotdps-operation-id"
)

// amqpRequest is a request message.
type amqpRequest struct {
	request
	correlation any // correlation-id in its AMQP type, nil without
}

// operationOf names the operation for the log.
func operationOf(m *amqpRequest) verb {
	if m == nil {
		return register
	}
	return m.verb
}

// parseRequest reads a request message (dps 2.5). With an error the request may
// be there nevertheless.
func parseRequest(payload []byte) (*amqpRequest, error) {
	m, err := amqp.ParseMessage(payload)
	if err != nil {
		return nil, fault.DPSGenericBadRequest.Wrap(err, "the message cannot be decoded")
	}
	r := &amqpRequest{}
	if m.Properties != nil {
		r.correlation = m.Properties.CorrelationID
	}
	name, _ := amqp.Text(m.ApplicationProperties.Get(typeKey))
	switch name {
	case "iotdps-register":
		r.verb = register
	case "iotdps-get-operationstatus":
		r.verb = status
		if r.operation, _ = amqp.Text(m.ApplicationProperties.Get(operationKey)); r.operation == "" {
			return r, fault.DPSArgumentNull.New("the application property %s is missing", operationKey)
		}
		return r, nil // its body is of no interest
	case "iotdps-get-registration":
		r.verb = lookup
	default:
		return r, fault.DPSArgumentInvalid.New("the application property %s is %q, which is no operation", typeKey, brief(name))
	}
	r.body, err = bodyOf(m)
	return r, err
}

// bodyOf returns the body of a register: data, or a value that is text, binary
// or null.
func bodyOf(m *amqp.Message) ([]byte, error) {
	if len(m.Sequence) > 0 {
		return nil, fault.DPSDeserializationError.New("the body is an AMQP sequence, not JSON")
	}
	body := bytes.Join(m.Data, nil)
	if m.HasValue {
		switch v := m.Value.(type) {
		case nil:
		case string:
			body = []byte(v)
		case []byte:
			body = v
		default:
			return nil, fault.DPSDeserializationError.New("the body is an AMQP value that is neither text nor binary")
		}
	}
	if len(body) > maxBody {
		return nil, fault.DPSMessageTooLarge.New("the body has %d bytes, %d are taken", len(body), maxBody)
	}
	return trim(body), nil
}

// responseTo encodes the answer to a request (dps 2.5).
func responseTo(m *amqpRequest, r *reply) ([]byte, error) {
	out := &amqp.Message{Data: [][]byte{r.body}}
	if m.correlation != nil {
		out.Properties = &amqp.Properties{CorrelationID: m.correlation}
	}
	if r.running() {
		for _, key := range retryKeys {
			out.ApplicationProperties = append(out.ApplicationProperties, amqp.Pair{Key: key, Value: int32(r.retry)})
		}
	}
	b, err := out.Append(nil)
	if err != nil {
		return nil, fault.DPSGenericBadRequest.Wrap(err, "the correlation-id cannot be copied")
	}
	return b, nil
}
