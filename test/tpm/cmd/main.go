// Command cmd serves a software TPM to the device SDKs until it is interrupted:
//
//	go run ./cmd -port 2321
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"

	"github.com/nave-hub/nave/test/tpm"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	f := flag.NewFlagSet("tpm", flag.ContinueOnError)
	host := f.String("host", "127.0.0.1", "address to listen on")
	port := f.Int("port", 2321, "port for commands")
	platform := f.Int("platform", 0, "port for signals of the platform; default: the one above -port")
	seed := f.Int64("seed", 0, "number the keys follow from; 0: random keys")
	if f.Parse(args) != nil || f.NArg() > 0 {
		return 2
	}
	if *platform == 0 {
		*platform = *port + 1
	}
	at := func(port int) string { return net.JoinHostPort(*host, strconv.Itoa(port)) }
	s, err := tpm.Listen(at(*port), at(*platform), *seed)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("TPM at %s, platform at %s\n", s.Addr(), s.PlatformAddr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
