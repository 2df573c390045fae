package node

import (
	"time"
)

// Config is everything that can be set, in a YAML file, by NAVE_… variables and
// by flags, in this order. The zero value of a field means its default. The
// tags hold name, default and meaning; docs/config.md is made from them.
type Config struct {
	Data     string `koanf:"data" default:"nave-data" doc:"Folder for everything that must survive a restart: database, event log, certificates, console token."`
	Node     string `koanf:"node" default:"" doc:"Name of this node, unique among the nodes that share a store; made at random once and kept in the data folder."`
	Store    string `koanf:"store" default:"" doc:"Where state lives: sqlite:FILE or postgres://…; empty: a SQLite file in the data folder."`
	Bus      string `koanf:"bus" default:"" doc:"NATS servers that carry the event log and calls between nodes, nats://…; empty: an embedded server in the data folder."`
	Replicas int    `koanf:"replicas" default:"1" doc:"Copies of the event log in a NATS cluster, 1 to 5."`

	Listen Listen `koanf:"listen"`
	TLS    TLS    `koanf:"tls"`
	Log    Log    `koanf:"log"`

	SecretKey string `koanf:"secretKey" default:"" doc:"File with 64 hex digits, the key that encrypts secrets at rest: enrolment keys, connection strings of linked hubs, credentials of SIM platforms, private keys of CAs. Empty: made once, and kept in the data folder, or in the store when that is PostgreSQL."`

	Hub  Hub   `koanf:"hub"`
	Hubs []Hub `koanf:"hubs" doc:"More hubs in the same process, each with the settings of hub."`

	DPS          DPS          `koanf:"dps"`
	Connectivity Connectivity `koanf:"connectivity"`
}

// Listen are the addresses of the listeners.
type Listen struct {
	HTTPS     string `koanf:"https" default:":443" doc:"HTTPS and WebSockets. Empty host: every address. When the default port needs rights that the process lacks, 8443 is taken instead and said so. off: no listener."`
	MQTT      string `koanf:"mqtt" default:":8883" doc:"MQTT over TLS. off: no listener."`
	AMQP      string `koanf:"amqp" default:":5671" doc:"AMQP over TLS. off: no listener."`
	AMQPPlain string `koanf:"amqpPlain" default:"off" doc:"AMQP without TLS, for Event Hubs clients with UseDevelopmentEmulator=true, usually 127.0.0.1:5672."`
	MQTTPlain string `koanf:"mqttPlain" default:"off" doc:"MQTT without TLS, for benchmarks on a trusted machine; a loopback address only."`
	Console   string `koanf:"console" default:"127.0.0.1:8080" doc:"Operator's API and status page, plain HTTP with a token; keep it on a loopback address. off: no listener."`
}

// TLS are the server certificates.
type TLS struct {
	Cert  string   `koanf:"cert" default:"" doc:"PEM file with the server certificate and its chain; empty: the node's own CA issues one for all names."`
	Key   string   `koanf:"key" default:"" doc:"PEM file with its private key."`
	Names []string `koanf:"names" doc:"More names and addresses for the certificate that the node issues; host names, aliases, localhost and this machine's name are always in it."`
}

// Log is how the node logs.
type Log struct {
	Level  string `koanf:"level" default:"info" doc:"debug, info, warn or error."`
	Format string `koanf:"format" default:"text" doc:"text or json."`
}

// Hub is one hub.
type Hub struct {
	Host    string   `koanf:"host" default:"localhost" doc:"Host name as connection strings call it; its first label is the hub's name."`
	Aliases []string `koanf:"aliases" doc:"Other names that clients dial: gateways, addresses. localhost and 127.0.0.1 always are for the first hub."`
	State   string   `koanf:"state" default:"active" doc:"active or suspended: a suspended hub answers 403001 to everything."`

	SKU   string `koanf:"sku" default:"S1" doc:"Tier: F1, B1 to B3 or S1 to S3. It decides features, quota and throttles."`
	Units int    `koanf:"units" default:"1" doc:"Units of the tier."`

	Throttling     Throttling     `koanf:"throttling"`
	Quota          Quota          `koanf:"quota"`
	Events         Events         `koanf:"events"`
	Auth           Auth           `koanf:"auth"`
	Errors         Errors         `koanf:"errors"`
	FaultInjection FaultInjection `koanf:"faultInjection"`
	MQTT           MQTT           `koanf:"mqtt"`
	Control        Control        `koanf:"control"`
	Tenant         string         `koanf:"tenant" default:"" doc:"Name of the hub as a tenant of the connectivity API; empty: the first label of its host, or the whole of it with hyphens where that is taken."`
	Feedback       time.Duration  `koanf:"feedbackEvery" default:"15s" doc:"Pause between two feedback messages when fewer than 64 records wait."`

	Policies     []Policy       `koanf:"policies" doc:"Shared access policies with fixed keys, name, rights, primaryKey, secondaryKey; others are made at the first start."`
	Certificates []Certificate  `koanf:"certificates" doc:"CAs whose certificates devices may present, name and file."`
	Limits       map[string]any `koanf:"limits" doc:"Limits by name, see the table below."`
}

// Throttling are the rate limits.
type Throttling struct {
	Enabled bool               `koanf:"enabled" default:"false" doc:"Enforce the throttles of the tier."`
	Rates   map[string]float64 `koanf:"rates" doc:"Rates by key in operations a second, in place of the tier's."`
}

// Quota is the daily message quota.
type Quota struct {
	Enforce bool  `koanf:"enforce" default:"false" doc:"Refuse charged operations with 403002 when the day's quota is used up."`
	Daily   int64 `koanf:"dailyMessageLimit" default:"0" doc:"Units a day; 0: those of the tier."`
}

// Events is the built-in event log.
type Events struct {
	Partitions      int           `koanf:"partitions" default:"4" doc:"Partitions of the event log, 2 to 32; fixed when the hub is created."`
	Retention       time.Duration `koanf:"retention" default:"24h" doc:"How long events are kept, at most 168h."`
	MaxBytes        int64         `koanf:"maxBytes" default:"0" doc:"Bytes that the log may take; 0: no limit."`
	Groups          []string      `koanf:"consumerGroups" doc:"Consumer groups besides $Default, at most 20; they are created at the start, and never removed by leaving them out."`
	Sources         []string      `koanf:"sources" doc:"Events of the hub itself that go to the log besides telemetry: TwinChangeEvents, DeviceLifecycleEvents, DeviceConnectionStateEvents."`
	ConnectionEvery time.Duration `koanf:"connectionEvery" default:"60s" doc:"How often changed connection states are published."`
}

// Auth is who may come in at all.
type Auth struct {
	DisableLocal     bool `koanf:"disableLocalAuth" default:"false" doc:"Refuse shared access policies."`
	DisableDeviceSAS bool `koanf:"disableDeviceSAS" default:"false" doc:"Refuse SAS tokens signed with device keys."`
	DisableModuleSAS bool `koanf:"disableModuleSAS" default:"false" doc:"Refuse SAS tokens signed with module keys."`
	OIDC             OIDC `koanf:"oidc"`
}

// OIDC is bearer tokens of service callers (service-api 1.5).
type OIDC struct {
	Issuers    []Issuer          `koanf:"issuers" doc:"Accepted issuers of bearer tokens: issuer, jwksUri (empty: by discovery), audiences."`
	RoleClaims []string          `koanf:"roleClaims" doc:"Claims that are searched for roles; roles, groups and scp when empty."`
	Roles      map[string]string `koanf:"roleMapping" doc:"Claim value to built-in role: data owner, data reader, registry contributor, twin contributor."`
	Principals map[string]string `koanf:"principalMapping" doc:"sub, oid or appid to built-in role."`
	CA         string            `koanf:"caFile" default:"" doc:"PEM file with CAs that the issuers' servers are trusted by, besides those of the system."`
}

// Issuer is one accepted source of bearer tokens.
type Issuer struct {
	Issuer    string   `koanf:"issuer"`
	JWKS      string   `koanf:"jwksUri"`
	Audiences []string `koanf:"audiences"`
}

// Errors is how errors are told.
type Errors struct {
	BodyForm     string `koanf:"bodyForm" default:"default" doc:"Body of REST errors: default, legacy, json or hybrid (service-api 2.2)."`
	DisabledCode bool   `koanf:"deviceDisabled" default:"false" doc:"Answer 403012 for a disabled device in place of 404001 or 401003."`
}

// FaultInjection is what may break things on purpose.
type FaultInjection struct {
	Devices bool `koanf:"allowDeviceProperties" default:"false" doc:"Obey the AzIoTHub_FaultOperation… properties of device messages. For test hubs."`
}

// MQTT is the MQTT surface of a hub.
type MQTT struct {
	SubscribeFailure bool `koanf:"subscribeFailure" default:"false" doc:"Answer an illegal topic filter with 0x80 in place of closing the connection."`
}

// Policy is a shared access policy with fixed keys.
type Policy struct {
	Name      string `koanf:"name"`
	Rights    string `koanf:"rights"`
	Primary   string `koanf:"primaryKey"`
	Secondary string `koanf:"secondaryKey"`
}

// Certificate is a CA in a file.
type Certificate struct {
	Name string `koanf:"name"`
	File string `koanf:"file"`
}
