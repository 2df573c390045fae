package tpm_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport/tcp"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/test/tpm"
)

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask writes numbers and reads n back.
func ask(t *testing.T, c net.Conn, n int, numbers ...uint32) []uint32 {
	t.Helper()
	if err := binary.Write(c, binary.BigEndian, numbers); err != nil {
		t.Fatal(err)
	}
	got := make([]uint32, n)
	if err := binary.Read(c, binary.BigEndian, got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProtocol(t *testing.T) {
	s, tpmClient := start(t)
	c := dial(t, s.Addr())
	if got := ask(t, c, 3, 15, 1); got[0] != 1 || got[2] != 0 {
		t.Errorf("handshake %v", got)
	}
	if got := ask(t, c, 1, 99); got[0] == 0 {
		t.Errorf("unknown command %v", got)
	}
	// Startup a second time: TPM_RC_INITIALIZE.
	startup := []byte("\x00\x00\x00\x08\x00\x00\x00\x00\x0c\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x44\x00\x00")
	c.Write(startup)
	answer := make([]byte, 18)
	if _, err := io.ReadFull(c, answer); err != nil || binary.BigEndian.Uint32(answer[10:]) != 0x100 {
		t.Errorf("startup % x %v", answer, err)
	}
	p := dial(t, s.PlatformAddr())
	if got := ask(t, p, 1, 2); got[0] != 0 {
		t.Errorf("power off %v", got)
	}
	c.Write(startup)
	if _, err := io.ReadFull(c, answer[:8]); err != nil || binary.BigEndian.Uint64(answer) != 0 {
		t.Errorf("without power % x %v", answer[:8], err)
	}
	for _, signal := range []uint32{1, 11} {
		if got := ask(t, p, 1, signal); got[0] != 0 {
			t.Errorf("signal %d %v", signal, got)
		}
	}
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(tpmClient); err != nil {
		t.Error(err)
	}
	if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(tpmClient); err != nil {
		t.Error(err)
	}
	// As clients of a resource manager write it; GetRandom of eight bytes.
	c.Write([]byte("\x00\x00\x00\x08\x00\x00\x01\x00\x00\x00\x0c\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x7b\x00\x08"))
	random := make([]byte, 28)
	if _, err := io.ReadFull(c, random); err != nil || random[3] != 20 || binary.BigEndian.Uint32(random[10:]) != 0 {
		t.Errorf("random bytes % x %v", random, err)
	}
	for _, end := range [][]byte{{0, 0, 0, 20}, {0, 0, 0, 21}, {0, 0, 0, 8, 0, 0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 8, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}} {
		c := dial(t, s.Addr())
		c.Write(end)
		if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
			t.Errorf("% x: %d bytes, %v", end, n, err)
		}
	}
}

// TestSeed expects the same keys of the same seed, in two lives of the TPM.
func TestSeed(t *testing.T) {
	var keys [2]*cred.TPMKey
	for i := range keys {
		s, err := tpm.Listen("127.0.0.1:0", "127.0.0.1:0", 7)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tcp.Open(tcp.Config{CommandAddress: s.Addr(), PlatformAddress: s.PlatformAddr()})
		if err != nil {
			t.Fatal(err)
		}
		t.Run("life", func(t *testing.T) { keys[i], _ = newDevice(t, c).keys(t) })
		c.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !keys[0].Equal(keys[1]) {
		t.Error("two endorsement keys of one seed")
	}
}
