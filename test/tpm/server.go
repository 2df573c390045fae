package tpm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/google/go-tpm-tools/simulator"
)

// Commands of the simulator's TCP protocol, TpmTcpProtocol.h of the reference implementation.
const (
	powerOn     = 1
	powerOff    = 2
	sendCommand = 8
	handshake   = 15
	reset       = 17
	restart     = 18
	sessionEnd  = 20
	stop        = 21
)

const (
	maxCommand = 4096 // bytes, the reference implementation's own limit
	version    = 1
	// What the handshake says of this end: platform commands are served, as is physical presence.
	endpoint = 1 | 8
)

// Server is a software TPM that listens for commands on one TCP port and for its platform's signals on another. Made by Listen.
type Server struct {
	// Set by Listen, then read only:
	command, platform net.Listener
	wg                sync.WaitGroup

	// Guarded by mu:
	mu      sync.Mutex
	sim     *simulator.Simulator
	started bool // TPM2_Startup has come since the last power-on
	off     bool
	conns   map[net.Conn]bool
	closed  bool
}

// Listen starts a TPM whose endorsement and storage keys follow from seed, or are random when seed is 0, and serves it on
// the two addresses; port 0 picks one. Clients of the protocol expect the platform's port one above the commands'. A second call in
// one process waits until the first server is closed.
func Listen(command, platform string, seed int64) (*Server, error) {
	s := &Server{conns: map[net.Conn]bool{}}
	var err error
	if s.command, err = net.Listen("tcp", command); err != nil {
		return nil, err
	}
	if s.platform, err = net.Listen("tcp", platform); err != nil {
		return nil, errors.Join(err, s.command.Close())
	}
	if seed == 0 {
		s.sim, err = simulator.Get()
	} else {
		s.sim, err = simulator.GetWithFixedSeedInsecure(seed)
	}
	if err != nil {
		return nil, errors.Join(err, s.command.Close(), s.platform.Close())
	}
	s.wg.Go(func() { s.accept(s.command, s.commands) })
	s.wg.Go(func() { s.accept(s.platform, s.signals) })
	return s, nil
}

// Addr returns the address of the commands' port.
func (s *Server) Addr() string { return s.command.Addr().String() }

// PlatformAddr returns the address of the platform's port.
func (s *Server) PlatformAddr() string { return s.platform.Addr().String() }

// Close ends all connections and the TPM and forgets its keys.
func (s *Server) Close() error {
	err := errors.Join(s.command.Close(), s.platform.Close())
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return errors.Join(err, s.sim.Close())
}

func (s *Server) accept(l net.Listener, serve func(*bufio.Reader, io.Writer) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			for r := bufio.NewReader(c); serve(r, c) == nil; {
			}
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func number(r io.Reader) (n uint32, err error) {
	err = binary.Read(r, binary.BigEndian, &n)
	return n, err
}

// answer writes numbers, the last of which tells success, in one piece.
func answer(w io.Writer, numbers ...uint32) error {
	return binary.Write(w, binary.BigEndian, numbers)
}

// commands serves one request on the commands' port.
func (s *Server) commands(r *bufio.Reader, w io.Writer) error {
	code, err := number(r)
	if err != nil {
		return err
	}
	switch code {
	case handshake:
		if _, err := number(r); err != nil {
			return err
		}
		return answer(w, version, endpoint, 0)
	case sendCommand:
		return s.send(r, w)
	case sessionEnd, stop: // the TPM goes on for others
		return io.EOF
	}
	return answer(w, 1)
}

func (s *Server) send(r *bufio.Reader, w io.Writer) error {
	if _, err := r.ReadByte(); err != nil { // locality; the simulator knows only 0
		return err
	}
	size, err := number(r)
	if err != nil {
		return err
	}
	if size>>16 == 1 { // a client of a resource manager: a log level and a mark come before the size
		low := make([]byte, 2)
		if _, err := io.ReadFull(r, low); err != nil {
			return err
		}
		size = size<<16 | uint32(binary.BigEndian.Uint16(low))
	}
	if size > maxCommand {
		return fmt.Errorf("a command of %d bytes", size)
	}
	command := make([]byte, size)
	if _, err := io.ReadFull(r, command); err != nil {
		return err
	}
	response, err := s.run(command)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(response)))
	b = append(b, response...)
	_, err = w.Write(binary.BigEndian.AppendUint32(b, 0))
	return err
}

// run executes one command; without power the response is empty.
func (s *Server) run(command []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return nil, nil
	}
	if isStartup(command) && !s.started {
		// The simulator was started together with its power; to the client that has not happened yet.
		s.started = true
		return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0}, nil
	}
	if _, err := s.sim.Write(command); err != nil {
		return nil, err
	}
	response := make([]byte, maxCommand)
	n, err := s.sim.Read(response)
	return response[:n], err
}

// isStartup reports whether command is TPM2_Startup(TPM_SU_CLEAR).
func isStartup(command []byte) bool {
	return string(command) == "\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x44\x00\x00"
}

// signals serves one request on the platform's port.
func (s *Server) signals(r *bufio.Reader, w io.Writer) error {
	code, err := number(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch code {
	case powerOff:
		s.off = true
	case powerOn: // a TPM that has power keeps its state
		if s.off {
			err = s.cycle()
		}
	case reset, restart:
		if !s.off {
			err = s.cycle()
		}
	case sessionEnd, stop:
		return io.EOF
	}
	if err != nil {
		return err
	}
	return answer(w, 0) // the other signals, such as for non-volatile memory, change nothing here
}

// cycle is power off and on again. mu.
func (s *Server) cycle() error {
	if err := s.sim.Reset(); err != nil {
		return err
	}
	s.off, s.started = false, false
	return nil
}
