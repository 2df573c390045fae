package amqp

// Constructor codes (1.6). The upper half of a code gives the width of the
// value that follows: 4 none, 5 one byte, 6 two, 7 four, 8 eight, 9 sixteen,
// A and B a length of one or four bytes, C to F a size and a count.
const (
	codeDescribed  = 0x00
	codeNull       = 0x40
	codeTrue       = 0x41
	codeFalse      = 0x42
	codeUint0      = 0x43
	codeUlong0     = 0x44
	codeList0      = 0x45
	codeUbyte      = 0x50
	codeByte       = 0x51
	codeUint8      = 0x52
	codeUlong8     = 0x53
	codeInt8       = 0x54
	codeLong8      = 0x55
	codeBool       = 0x56
	codeUshort     = 0x60
	codeShort      = 0x61
	codeUint       = 0x70
	codeInt        = 0x71
	codeFloat      = 0x72
	codeChar       = 0x73
	codeDecimal32  = 0x74
	codeUlong      = 0x80
	codeLong       = 0x81
	codeDouble     = 0x82
	codeTimestamp  = 0x83
	codeDecimal64  = 0x84
	codeDecimal128 = 0x94
	codeUUID       = 0x98
	codeBinary8    = 0xa0
	codeString8    = 0xa1
	codeSymbol8    = 0xa3
	codeBinary32   = 0xb0
	codeString32   = 0xb1
	codeSymbol32   = 0xb3
	codeList8      = 0xc0
	codeMap8       = 0xc1
	codeList32     = 0xd0
	codeMap32      = 0xd1
	codeArray8     = 0xe0
	codeArray32    = 0xf0
)

// Descriptors of everything the engine reads or writes; all fit in a smallulong.
const (
	descOpen        = 0x10
	descBegin       = 0x11
	descAttach      = 0x12
	descFlow        = 0x13
	descTransfer    = 0x14
	descDisposition = 0x15
	descDetach      = 0x16
	descEnd         = 0x17
	descClose       = 0x18
	descError       = 0x1d

	descReceived    = 0x23
	descAccepted    = 0x24
	descRejected    = 0x25
	descReleased    = 0x26
	descModified    = 0x27
	descSource      = 0x28
	descTarget      = 0x29
	descCoordinator = 0x30

	descMechanisms = 0x40
	descInit       = 0x41
	descChallenge  = 0x42
	descResponse   = 0x43
	descOutcome    = 0x44
)

// symbolic maps the symbolic descriptors to the numeric ones; peers may use
// either (1.3), nearly all use numbers.
var symbolic = map[string]uint64{
	"amqp:open:list": descOpen, "amqp:begin:list": descBegin, "amqp:attach:list": descAttach,
	"amqp:flow:list": descFlow, "amqp:transfer:list": descTransfer, "amqp:disposition:list": descDisposition,
	"amqp:detach:list": descDetach, "amqp:end:list": descEnd, "amqp:close:list": descClose,
	"amqp:error:list": descError, "amqp:received:list": descReceived, "amqp:accepted:list": descAccepted,
	"amqp:rejected:list": descRejected, "amqp:released:list": descReleased, "amqp:modified:list": descModified,
	"amqp:source:list": descSource, "amqp:target:list": descTarget, "amqp:coordinator:list": descCoordinator,
	"amqp:sasl-mechanisms:list": descMechanisms, "amqp:sasl-init:list": descInit,
	"amqp:sasl-challenge:list": descChallenge, "amqp:sasl-response:list": descResponse,
	"amqp:sasl-outcome:list": descOutcome, "amqp:header:list": uint64(SectionHeader),
	"amqp:delivery-annotations:map":   uint64(SectionDeliveryAnnotations),
	"amqp:message-annotations:map":    uint64(SectionMessageAnnotations),
	"amqp:properties:list":            uint64(SectionProperties),
	"amqp:application-properties:map": uint64(SectionApplicationProperties),
	"amqp:data:binary":                uint64(SectionData), "amqp:amqp-sequence:list": uint64(SectionSequence),
	"amqp:amqp-value:*": uint64(SectionValue), "amqp:footer:map": uint64(SectionFooter),
}
