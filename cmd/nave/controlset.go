package main

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// desiredAnswer is a desired state as the console shows it.
type desiredAnswer struct {
	ID       string `json:"desiredId"`
	Value    string `json:"value"`
	Sequence int64  `json:"sequenceNumber"`
	Status   string `json:"status"`
	Issued   string `json:"issued"`
	Expires  string `json:"expires"`
	Closed   string `json:"closed"`
	Reported string `json:"reported"`
	Online   bool   `json:"online"`
	Seen     string `json:"lastSeen"`
}

const pendingStatus = "pending"

func controlSet(e *env) *cobra.Command {
	wait := 5 * time.Minute
	c := &cobra.Command{Use: "set DEVICE COMMAND VALUE", Short: "Ask a command to take a value and follow that to its end", Args: cobra.ExactArgs(3),
		Long: `Set makes a desired state and waits for the device to answer: applied, rejected, stale,
or superseded and expired when it does not. The exit code is 0 for applied and for a
request that is still pending when the wait ends.`,
		Example: "  nave control-device set cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 cmd_01hzk4v8q2m7n3p5r9s0t1w2c1 1 --wait 30s",
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 {
				return misuse("", "--wait is %s, it cannot be negative", wait)
			}
			return e.setDesired(cmd, args[0], args[1], args[2], wait)
		}}
	c.Flags().DurationVar(&wait, "wait", wait, "how long to follow it; 0: not at all")
	return c
}

// look is how long one look at a desired state waits for its end.
const look = 2 * time.Second

func (e *env) setDesired(cmd *cobra.Command, device, command, value string, wait time.Duration) error {
	ctx := cmd.Context()
	c, err := e.operator(ctx)
	if err != nil {
		return err
	}
	var s desiredAnswer
	if err := c.askHub(ctx, http.MethodPost, controlPath(device, "sources", command, "desired"), map[string]string{"value": value}, &s); err != nil {
		return err
	}
	p := e.progress("Waiting for the device:")
	begun := time.Now()
	for s.Status == pendingStatus && time.Since(begun) < wait {
		turn := min(look, wait-time.Since(begun)).Round(time.Millisecond)
		err := c.askHub(ctx, http.MethodGet, controlPath(device, "desired", s.ID)+"?wait="+turn.String(), nil, &s)
		if err != nil {
			p.end()
			return err
		}
		seen := "not seen yet"
		if s.Seen != "" {
			seen = "last seen " + when(s.Seen)
		}
		p.note("%s for %s, device %s", s.Status, time.Since(begun).Round(time.Second), seen)
	}
	p.end()
	return e.showDesired(&s)
}

func (e *env) showDesired(s *desiredAnswer) error {
	if e.json() {
		if err := e.printJSON(s); err != nil {
			return err
		}
	} else {
		expires := ""
		if s.Expires != "" && s.Status == pendingStatus {
			expires = when(s.Expires)
		}
		e.facts("Desired state", s.ID, "Value", s.Value, "Sequence number", strconv.FormatInt(s.Sequence, 10), "Status", s.Status, "Reported", s.Reported, "Expires", expires)
	}
	switch s.Status {
	case "applied", pendingStatus:
		return nil
	case "rejected", "stale":
		return trouble("Look at the device: it reports the value it has now.", "the device answered %s", s.Status)
	}
	return trouble("Set the value again when it is still wanted.", "the desired state is %s", s.Status)
}

// feedAnswer is an accepted item as the console shows it.
type feedAnswer struct {
	ID       int64  `json:"feedDataId"`
	Message  string `json:"messageId"`
	Value    string `json:"value"`
	Observed string `json:"observed"`
	Received string `json:"received"`
	Via      string `json:"transport"`
	Report   string `json:"reportStatus"`
	Warnings []struct {
		Type string `json:"type"`
	} `json:"warnings"`
}

func controlHistory(e *env) *cobra.Command {
	top, before := 20, int64(0)
	c := &cobra.Command{Use: "history DEVICE SOURCE", Short: "Show what a command or sensor has reported, the newest first", Args: cobra.ExactArgs(2),
		Example: "  nave control-device history cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 sen_01hzk4v8q2m7n3p5r9s0t1w2s1 --top 5",
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []feedAnswer
			path := controlPath(args[0], "sources", args[1], "history") + fmt.Sprintf("?top=%d&before=%d", top, before)
			told, err := e.askControl(cmd.Context(), http.MethodGet, path, nil, &all)
			if err != nil || told {
				return err
			}
			if len(all) == 0 {
				e.say("Nothing was reported yet.")
				return nil
			}
			t := newTable("ID", "OBSERVED", "VALUE", "MESSAGE", "BY", "REPORT", "WARNINGS")
			for _, f := range all {
				var warnings []string
				for _, w := range f.Warnings {
					warnings = append(warnings, w.Type)
				}
				t.add(strconv.FormatInt(f.ID, 10), when(f.Observed), f.Value, f.Message, f.Via, f.Report, strings.Join(warnings, ", "))
			}
			return e.table(t)
		}}
	c.Flags().IntVar(&top, "top", top, "greatest number of items, 1 to 1000")
	c.Flags().Int64Var(&before, "before", 0, "only items with a smaller id")
	return c
}

// transcript is a shell script that shows the whole contract with curl.
func transcript(d *controlAnswer) string {
	var sensor, command string
	for _, s := range d.Sources {
		switch {
		case s.Type == "sensor" && sensor == "":
			sensor = s.ID
		case s.Type == "command" && command == "":
			command = s.ID
		}
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("CLIENT_ID=%s\nCLIENT_SECRET=%s\nHUB=%s", d.ID, d.Secret, d.Endpoint)
	ca := ""
	if d.CAFile != "" {
		say("CA=%s", shellWord(d.CAFile))
		ca = ` --cacert "$CA"`
	}
	say("NOW=$(date -u +%%Y-%%m-%%dT%%H:%%M:%%SZ)")
	say("\n# 1. a token")
	scope := ""
	if !slices.Contains(d.Protocols, "https") {
		scope = " -d 'scope=iot:catalog:read iot:mqtt:connect iot:mqtt:ack:read iot:mqtt:feed-data:write iot:mqtt:desired:read'"
	}
	say(`TOKEN=$(curl -sS%s "$HUB/oauth/token" -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials%s | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`, ca, scope)
	call := fmt.Sprintf(`curl -sS%s -H "Authorization: Bearer $TOKEN" "$HUB/iot/v1/devices/$CLIENT_ID`, ca)
	say("\n# 2. what am I, which channels, how often may I talk")
	say(`%s/bootstrap"; echo`, call)
	if !slices.Contains(d.Protocols, "https") {
		transcriptMQTT(say, call, ca)
		return strings.TrimSuffix(b.String(), "\n")
	}
	post := call + `/feed-data" -H 'Content-Type: application/json' -d '{"message_id":"'$NOW-$$'-`
	if sensor != "" {
		say("\n# 3. what I measure")
		say(`SENSOR=%s`, sensor)
		say(`%s1","sensor_id":"'$SENSOR'","value":"21.5","value_received_at":"'$NOW'"}'; echo`, post)
	}
	if command != "" {
		say("\n# 4. is anything wanted from me; 'nave control-device set' in another terminal makes it so:")
		say("#    nave control-device set %s %s 1", d.ID, command)
		say(`COMMAND=%s`, command)
		say(`STATES=$(%s/desired-states"); echo "$STATES"`, call)
		say("\n# 5. I did it")
		say(`wanted() { echo "$STATES" | sed -n 's/.*"'$1'":"\([^"]*\)".*/\1/p'; }`)
		say(`if [ -n "$(wanted desired_id)" ]; then`)
		say(`  COMMAND=$(wanted command_id)`)
		say(`  %s2","command_id":"'$COMMAND'","value":"'$(wanted value)'","value_received_at":"'$NOW'","desired_id":"'$(wanted desired_id)'","report_status":"applied"}'; echo`, post)
		say("fi")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// transcriptMQTT goes on for a device that may not report over HTTPS.
func transcriptMQTT(say func(format string, args ...any), call, ca string) {
	trust := " --tls-use-os-certs"
	if ca != "" {
		trust = ` --cafile "$CA"`
	}
	say("\n# 3. where and how over MQTT")
	say(`CATALOG=$(%s/mqtt"); echo "$CATALOG"`, call)
	say(`entry() { echo "$CATALOG" | sed -n 's/.*"'$1'":"\([^"]*\)".*/\1/p'; }`)
	say(`PASSWORD=$(curl -sS%s -H "Authorization: Bearer $TOKEN" "$HUB$(entry credential_endpoint)" -H 'Content-Type: application/json' -d '{"device_id":"'$CLIENT_ID'"}' | sed 's/.*"mqtt_credential":"\([^"]*\)".*/\1/')`, ca)
	say(`BROKER=$(entry broker_url | sed 's/mqtts:..//')`)
	say("\n# 4. what I measure, and its acknowledgement (mosquitto_rr of mosquitto-clients)")
	say(`mosquitto_rr -h "${BROKER%%:*}" -p "${BROKER##*:}"%s -i "$CLIENT_ID" -u "$CLIENT_ID" -P "$PASSWORD" -q 1 -W 10 -e "$(entry feed_data_ack_topic)" -t "$(entry feed_data_topic)" -m '{"message_id":"'$NOW-$$'-1","value":"21.5","value_received_at":"'$NOW'"}'`, trust)
}
