package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	maxPayload   = 8 << 20
	startTimeout = 60 * time.Second
	probeSize    = 4 << 20
)

var errDown = errors.New("bus: the embedded server is down")

// embedded is the NATS server inside the process. It is replaced by a new one
// when its storage failed, and clients reconnect to whichever is current.
type embedded struct {
	// Set by openEmbedded, then read only:
	dir, node string
	temp      bool // dir goes away at close
	log       *slog.Logger
	lock      *os.File

	current atomic.Pointer[server.Server]
}

func openEmbedded(o *Options) (*embedded, error) {
	e := &embedded{dir: o.Dir, node: o.Node, log: o.Log}
	var err error
	if e.dir == "" {
		if e.dir, err = os.MkdirTemp("", "nave-bus-"); err != nil {
			return nil, err
		}
		e.temp = true
	} else if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, err
	}
	if e.lock, err = lockDir(e.dir); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *embedded) start() error {
	s, err := server.NewServer(&server.Options{
		ServerName: "nave-" + Word(e.node),
		DontListen: true,
		JetStream:  true,
		StoreDir:   e.dir,
		// An acknowledgement must mean "on the disk"; the default syncs every two minutes.
		SyncAlways:        true,
		MaxPayload:        maxPayload,
		MaxPending:        1 << 30,
		JetStreamMaxStore: 1 << 60, // retention limits the logs, not the server
		NoSigs:            true,
	})
	if err != nil {
		return fmt.Errorf("bus: embedded server: %w", err)
	}
	s.SetLoggerV2(serverLog{e.log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTimeout) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return fmt.Errorf("bus: embedded server did not start on %s; its log says why", e.dir)
	}
	e.current.Store(s)
	return nil
}

func (e *embedded) stop() {
	if s := e.current.Swap(nil); s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

func (e *embedded) close() error {
	e.stop()
	err := e.lock.Close()
	if e.temp {
		err = errors.Join(err, os.RemoveAll(e.dir))
	}
	return err
}

// InProcessConn gives clients a connection to the current server.
func (e *embedded) InProcessConn() (net.Conn, error) {
	if s := e.current.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errDown
}

// check returns the write error that made a stream stop, or why there is no
// JetStream. The server tells it in its health report only.
func (e *embedded) check(stream string) error {
	s := e.current.Load()
	if s == nil || !s.JetStreamEnabled() {
		return errDown
	}
	h := s.Healthz(&server.HealthzOptions{Account: "$G", Stream: stream})
	// 404 says that the stream was dropped, which is no failure of the storage.
	if h.Error != "" && h.StatusCode != http.StatusNotFound {
		return errors.New(h.Error)
	}
	return nil
}

// probe says whether the folder takes synced writes.
func (e *embedded) probe() error {
	name := filepath.Join(e.dir, "bus.probe")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer f.Close()
	if _, err := f.Write(make([]byte, probeSize)); err != nil {
		return err
	}
	return f.Sync()
}

// serverLog passes what the NATS server says at warning level and above to slog.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Warnf(format string, v ...any)  { l.say(slog.LevelWarn, format, v) }
func (l serverLog) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }
func (l serverLog) Fatalf(format string, v ...any) { l.say(slog.LevelError, format, v) }
func (l serverLog) Noticef(string, ...any)         {}
func (l serverLog) Debugf(string, ...any)          {}
func (l serverLog) Tracef(string, ...any)          {}

func (l serverLog) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "event log server: "+fmt.Sprintf(format, v...))
}
