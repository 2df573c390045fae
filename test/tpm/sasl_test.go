package tpm_test

import (
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
)

// mechanism is the least a server needs to speak TPM.
type mechanism struct {
	text     cred.Reassembly
	ek, srk  *cred.TPMKey
	key      []byte // what the TPM gets
	check    []byte // what the token is verified with
	segments [][]byte
	scope    string
	id       string
}

func (m *mechanism) step(text []byte) ([]byte, error) {
	if len(m.segments) > 0 {
		s := m.segments[0]
		m.segments = m.segments[1:]
		return s, nil
	}
	if last, err := m.text.Add(text); !last {
		return []byte{0}, err
	}
	defer m.text.Reset()
	switch {
	case m.ek == nil:
		return []byte{0}, m.begin()
	case m.srk == nil:
		return m.open()
	}
	token := string(m.text.Data())
	_, err := cred.VerifyProvisioning(token, m.scope, m.id, [][]string{{base64.StdEncoding.EncodeToString(m.check)}}, time.Now())
	return nil, err
}

func (m *mechanism) begin() error {
	var ek []byte
	var err error
	if m.scope, m.id, ek, err = cred.ParseTPMInit(m.text.Data()); err != nil {
		return err
	}
	m.ek, err = cred.ParseEndorsementKey(ek)
	return err
}

func (m *mechanism) open() ([]byte, error) {
	var err error
	if m.srk, err = cred.ParseStorageRootKey(m.text.Data()); err != nil {
		return nil, err
	}
	blob, err := cred.Activation(m.ek, m.srk, m.key, "hub/devices/"+m.id)
	if err != nil {
		return nil, err
	}
	if m.segments, err = cred.Segments(blob); err != nil {
		return nil, err
	}
	return m.step(nil)
}

// once hands the connection's end to the test.
type once chan error

func (o once) Attach(l *amqp.Link) { l.Refuse(amqp.Errorf(amqp.NotAllowed, "no links")) }
func (o once) Closed(cause error)  { o <- cause }

// TestNodeMechanism lets the Node SDK's mechanism in when its TPM has the key, and keeps it out when the key is another.
func TestNodeMechanism(t *testing.T) {
	dir, port := modules(t), startPair(t)
	for name, good := range map[string]bool{"the key": true, "another key": false} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var init amqp.SASLInit
			m := &mechanism{key: cred.NewActivationKey()}
			if m.check = m.key; !good {
				m.check = cred.NewActivationKey()
			}
			o := amqp.Options{Mechanisms: []string{amqp.Plain, "TPM"}, HandshakeTimeout: 2 * time.Minute, Exchange: func(i amqp.SASLInit) amqp.Step {
				init = i
				return m.step
			}}
			over := make(once, 1)
			go func() {
				if nc, err := l.Accept(); err == nil {
					amqp.Serve(nc, o, over)
				}
			}()
			cmd := exec.CommandContext(t.Context(), "node", "testdata/sasl.js", strconv.Itoa(port), strconv.Itoa(l.Addr().(*net.TCPAddr).Port), "0ne1", "Reg-1")
			cmd.Env = append(os.Environ(), "NODE_PATH="+dir)
			out, err := cmd.CombinedOutput()
			if opened := strings.TrimSpace(string(out)) == "open"; opened != good || good != (err == nil) {
				t.Errorf("%v: %s", err, out)
			}
			select {
			case cause := <-over:
				if (cause == nil) != good || !good && !strings.Contains(cause.Error(), "none of the registered keys") {
					t.Error(cause)
				}
			case <-time.After(time.Minute):
				t.Fatal("the client did not connect, or its connection does not end")
			}
			if init.Mechanism != "TPM" || init.Hostname != "0ne1/registrations/Reg-1" || m.id != "Reg-1" || m.scope != "0ne1" {
				t.Errorf("%q %q %q %q", init.Mechanism, init.Hostname, m.scope, m.id)
			}
		})
	}
}
