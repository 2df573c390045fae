package cred_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/cred"
)

var connections = []string{
	"HostName=" + hub + ";DeviceId=d1;SharedAccessKey=" + key1,
	"HostName=" + hub + ";DeviceId=d1;ModuleId=m;SharedAccessKey=" + key1,
	"HostName=" + hub + ";GatewayHostName=localhost;DeviceId=d=1;SharedAccessKey=" + key1,
	"HostName=" + hub + ";DeviceId=d1;x509=true",
	"HostName=" + hub + ";SharedAccessKeyName=iothubowner;SharedAccessKey=" + key1,
	"HostName=" + hub + ";SharedAccessKeyName=device;DeviceId=d1;SharedAccessKey=" + key1,
	"HostName=" + hub + ";DeviceId=d1;SharedAccessSignature=SharedAccessSignature sr=h&sig=a%3D&se=1",
	"Endpoint=sb://" + hub + ":5671/;SharedAccessKeyName=service;SharedAccessKey=any text;EntityPath=myhub",
	"Endpoint=sb://localhost;SharedAccessKeyName=service;SharedAccessKey=x;UseDevelopmentEmulator=true;EntityPath=h",
}

func TestParseConnectionString(t *testing.T) {
	for _, s := range connections {
		c, err := cred.ParseConnectionString(" " + strings.ReplaceAll(s, ";", "; ") + ";\n")
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		again, err := cred.ParseConnectionString(c.String())
		if err != nil || *again != *c {
			t.Errorf("%s: %s: %v", s, c, err)
		}
	}
	c, err := cred.ParseConnectionString("hostname=" + hub + ";DEVICEID=d;ModuleId=m;X509Cert=True;GatewayHostName=g")
	want := cred.ConnectionString{HostName: hub, Gateway: "g", DeviceID: "d", ModuleID: "m", X509: true}
	if err != nil || *c != want || c.String() != "HostName="+hub+";GatewayHostName=g;DeviceId=d;ModuleId=m;x509=true" {
		t.Errorf("%+v %v", c, err)
	}
}

func TestParseConnectionStringRefuses(t *testing.T) {
	key := ";SharedAccessKey=" + key1
	for _, c := range []struct{ text, want string }{
		{"", "empty"},
		{"HostName", "part 1"},
		{"HostName=" + key, "HostName of the connection string is empty"},
		{"DeviceId=d" + key, "neither HostName nor Endpoint"},
		{"HostName=h;Endpoint=e;DeviceId=d" + key, "both"},
		{"HostName=h;DeviceId=d;DeviceId=e" + key, "DeviceId twice"},
		{"HostName=h;ModuleId=m" + key, "without DeviceId"},
		{"HostName=h;DeviceId=d", "exactly one"},
		{"HostName=h;DeviceId=d;x509=true" + key, "exactly one"},
		{"HostName=h;DeviceId=d;x509=1", "neither true nor false"},
		{"HostName=h;x509=true", "x509=true without"},
		{"HostName=h" + key, "neither DeviceId nor SharedAccessKeyName"},
		{"HostName=h;DeviceId=d;EntityPath=e" + key, "without Endpoint"},
		{"Endpoint=e;DeviceId=d" + key, "with Endpoint"},
		{"HostName=h;DeviceId=d;SharedAccessKey=short", "base64"},
		{"HostName=h;DeviceId=d;Colour=red" + key, `"Colour"`},
		{"HostName=h;DeviceId=d;" + key1, "part 3 of the connection string has an unknown name"},
		{strings.Repeat("x", cred.MaxConnectionString+1), "at most"},
	} {
		_, err := cred.ParseConnectionString(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || cred.ProblemOf(err) == "" || strings.Contains(err.Error(), key1[:40]) {
			t.Errorf("%.100s: %v", c.text, err)
		}
	}
}

func TestConnectionStringLog(t *testing.T) {
	c, err := cred.ParseConnectionString(connections[0])
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("dial", "to", c)
	if strings.Contains(out.String(), key1) || !strings.Contains(out.String(), "DeviceId=d1") {
		t.Error(out.String())
	}
}
