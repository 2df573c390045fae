package load

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// Echo is a bare net/http server over TLS that reads a JSON body and answers with it: what there is to compare an HTTP surface with.
type Echo struct {
	Target Target
	server *http.Server
}

// OpenEcho starts an echo on a free port of the loopback interface.
func OpenEcho() (*Echo, error) {
	ca, err := cred.NewCA("nave bench", time.Hour)
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.ServerEC([]string{"localhost"}, time.Hour)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	e := &Echo{Target: Target{Address: l.Addr().String(), TLS: &tls.Config{RootCAs: roots, ServerName: "localhost"}},
		server: &http.Server{Handler: http.HandlerFunc(answerJSON), ErrorLog: log.New(io.Discard, "", 0),
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}}
	go e.server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}}))
	return e, nil
}

// Close ends the echo.
func (e *Echo) Close() error { return e.server.Close() }

func answerJSON(w http.ResponseWriter, r *http.Request) {
	var v any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}
