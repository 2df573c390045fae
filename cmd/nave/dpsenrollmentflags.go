package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// enrolmentFlags are what an enrolment or a group is made of.
type enrolmentFlags struct {
	x509, x509Second, caName, caSecond, tpm, key, key2 string
	hubs                                               []string
	allocation, webhook, webhookVersion                string
	reprovision, device, tags, desired, info           string
	credential, authority, bundle                      string
	edge, enable, disable                              bool
}

func (n *enrolmentFlags) add(c *cobra.Command, k *enrolmentKind) {
	f := c.Flags()
	own := "PEM file with the device's certificate"
	if k.group {
		own = "PEM file with the certificate of the CA that signs for the devices"
	}
	f.StringVar(&n.x509, "x509", "", own)
	f.StringVar(&n.x509Second, "x509-secondary", "", "PEM file with the certificate that takes over")
	f.StringVar(&n.caName, "ca-name", "", "certificate of the service ('nave dps certificate') that vouches for the devices")
	f.StringVar(&n.caSecond, "ca-name-secondary", "", "the one that takes over")
	f.StringVar(&n.key, "primary-key", "", "symmetric key in base64; made when it is left out")
	f.StringVar(&n.key2, "secondary-key", "", "second key in base64; made when it is left out")
	f.StringArrayVar(&n.hubs, "hub", nil, "host name of a linked hub to choose from, may be repeated (all); empty for all again")
	f.StringVar(&n.allocation, "allocation", "", "how a hub is chosen: hashed, geoLatency, static or custom (that of the service)")
	f.StringVar(&n.webhook, "webhook", "", "URL that chooses the hub; sets --allocation custom")
	f.StringVar(&n.webhookVersion, "webhook-version", "", "api-version for the webhook ("+dpsVersion+")")
	f.StringVar(&n.reprovision, "reprovision", "", "what a device takes along that registers again: migrate, reset, or never (it stays)")
	f.StringVar(&n.tags, "tags", "", "tags of the first twin, a JSON object, @FILE or -")
	f.StringVar(&n.desired, "desired", "", "desired properties of the first twin, a JSON object, @FILE or -")
	f.BoolVar(&n.edge, "edge", false, "the devices are edge devices")
	f.BoolVar(&n.disable, "disable", false, "nobody may register by it")
	f.BoolVar(&n.enable, "enable", false, "devices may register again")
	f.StringVar(&n.credential, "credential-policy", "", "credential policy for certificates that devices ask for")
	f.StringVar(&n.authority, "issuing-ca", "", "certificate authority for certificates that devices ask for, of older previews")
	f.StringVar(&n.bundle, "trust-bundle", "", "trust bundle that devices get")
	if !k.group {
		f.StringVar(&n.device, "device-id", "", "id of the device on its hub (the registration id)")
		f.StringVar(&n.tpm, "tpm", "", "endorsement key of the device's TPM in base64")
		f.StringVar(&n.info, "information", "", "what to keep about the device, a JSON object, @FILE or -")
	}
	c.MarkFlagsMutuallyExclusive("enable", "disable")
	c.MarkFlagFilename("x509", "pem", "crt")
	c.MarkFlagFilename("x509-secondary", "pem", "crt")
	c.RegisterFlagCompletionFunc("reprovision", cobra.FixedCompletions([]string{"migrate", "reset", "never"}, cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("allocation", cobra.FixedCompletions([]string{"hashed", "geoLatency", "static", "custom"}, cobra.ShellCompDirectiveNoFileComp))
}

// apply writes what the flags say into an enrolment.
func (n *enrolmentFlags) apply(e *env, cmd *cobra.Command, doc map[string]any, update bool) error {
	proof, err := n.proof(e, cmd)
	if err != nil {
		return err
	}
	if proof == nil && !update {
		proof = map[string]any{"type": "symmetricKey", "symmetricKey": map[string]any{}}
	}
	if proof != nil {
		doc["attestation"] = proof
	}
	changed := cmd.Flags().Changed
	for _, f := range []struct {
		flag, member string
		value        any
	}{{"device-id", "deviceId", n.device}, {"allocation", "allocationPolicy", n.allocation}, {"credential-policy", "credentialPolicyName", n.credential},
		{"trust-bundle", "trustBundleId", n.bundle}, {"edge", "capabilities", map[string]any{"iotEdge": n.edge}},
		{"issuing-ca", "clientCertificateIssuancePolicy", map[string]any{"certificateAuthorityName": n.authority}}} {
		if changed(f.flag) {
			doc[f.member] = f.value
		}
	}
	if n.enable || n.disable {
		doc["provisioningStatus"] = map[bool]string{true: "enabled", false: "disabled"}[n.enable]
	}
	if changed("hub") {
		hubs := []string{}
		for _, h := range n.hubs {
			if h != "" {
				hubs = append(hubs, h)
			}
		}
		doc["iotHubs"] = hubs
		delete(doc, "iotHubHostName") // the older name of the same
	}
	if err := n.policy(doc); err != nil {
		return err
	}
	return n.documents(e, cmd, doc)
}

// policy writes reprovisioning and webhook.
func (n *enrolmentFlags) policy(doc map[string]any) error {
	switch word := strings.ToLower(n.reprovision); word {
	case "":
	case "migrate", "reset", "never":
		doc["reprovisionPolicy"] = map[string]bool{"updateHubAssignment": word != "never", "migrateDeviceData": word == "migrate"}
	default:
		return misuse("", "--reprovision is %q, allowed are migrate, reset and never", n.reprovision)
	}
	if n.webhook == "" {
		return nil
	}
	at := map[string]string{"webhookUrl": n.webhook, "apiVersion": dpsVersion}
	if n.webhookVersion != "" {
		at["apiVersion"] = n.webhookVersion
	}
	doc["customAllocationDefinition"] = at
	if n.allocation == "" {
		doc["allocationPolicy"] = "custom"
	}
	return nil
}

// documents writes the first twin, of which a flag replaces its part, and what
// is kept about the device.
func (n *enrolmentFlags) documents(e *env, cmd *cobra.Command, doc map[string]any) error {
	twin, _ := doc["initialTwin"].(map[string]any)
	if twin == nil {
		twin = map[string]any{}
	}
	if cmd.Flags().Changed("tags") {
		tags, err := e.object("--tags", n.tags)
		if err != nil {
			return err
		}
		twin["tags"] = tags
	}
	if cmd.Flags().Changed("desired") {
		desired, err := e.object("--desired", n.desired)
		if err != nil {
			return err
		}
		twin["properties"] = map[string]any{"desired": desired}
	}
	if len(twin) > 0 {
		doc["initialTwin"] = twin
	}
	if n.info != "" {
		info, err := e.object("--information", n.info)
		if err != nil {
			return err
		}
		doc["optionalDeviceInformation"] = info
	}
	return nil
}

// proof returns the attestation that the flags ask for, nil for none.
func (n *enrolmentFlags) proof(e *env, cmd *cobra.Command) (map[string]any, error) {
	given := 0
	for _, set := range []bool{n.x509 != "" || n.x509Second != "", n.caName != "" || n.caSecond != "", n.tpm != "", n.key != "" || n.key2 != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, misuse("Give one of them.", "--x509, --ca-name, --tpm and keys exclude each other")
	case n.tpm != "":
		return map[string]any{"type": "tpm", "tpm": map[string]any{"endorsementKey": n.tpm}}, nil
	case n.key != "" || n.key2 != "":
		return map[string]any{"type": "symmetricKey", "symmetricKey": pair("Key", n.key, n.key2)}, nil
	case n.caName != "" || n.caSecond != "":
		return map[string]any{"type": "x509", "x509": map[string]any{"caReferences": pair("", n.caName, n.caSecond)}}, nil
	case n.x509 == "" && n.x509Second == "":
		return nil, nil
	}
	member := "clientCertificates"
	if cmd.Flags().Lookup("tpm") == nil { // a group
		member = "signingCertificates"
	}
	certs := map[string]any{}
	for name, file := range map[string]string{"primary": n.x509, "secondary": n.x509Second} {
		if file == "" {
			continue
		}
		text, err := e.text("--x509", "@"+file)
		if err != nil {
			return nil, err
		}
		certs[name] = map[string]string{"certificate": string(text)}
	}
	return map[string]any{"type": "x509", "x509": map[string]any{member: certs}}, nil
}

// pair returns primary and secondary, as far as they are given.
func pair(suffix, first, second string) map[string]any {
	out := map[string]any{}
	if first != "" {
		out["primary"+suffix] = first
	}
	if second != "" {
		out["secondary"+suffix] = second
	}
	return out
}
