// Devidp is the development identity provider of the keyserver: an OpenID provider at which nobody has a
// password and anybody may be anybody. It is for demonstrations and tests on one machine. It listens on
// loopback only, keeps everything in memory, makes a new signing key at every start, and writes
// "development": true into every token; a keyserver accepts it in development mode only.
//
//	devidp --accounts FILE [--listen 127.0.0.1:9100] [--addr-file FILE]
//
// When it is ready it writes its issuer URL to the file named by --addr-file, in one step, and prints
//
//	issuer http://127.0.0.1:9100
//
// The accounts file says who there is; testdata/accounts.yaml is an example. People sign in with the
// public client, by authorization code with PKCE (S256), as at the pages of a keyserver, or by device code
// (RFC 8628). Machines get a token for their client id and secret (client credentials). Access tokens are
// JWTs as in RFC 9068.
//
// A script can play the person at the device page, without a browser, with one form post:
//
//	curl --fail -d user_code=BCDF-GHJK -d sub=alice -d action=allow http://127.0.0.1:9100/device
//
// The form fields are user_code (as the program that signs in shows it; case and dashes do not matter),
// sub (who signs in; not needed to deny) and action (allow or deny). The answer is 200 when that is what
// the program will be told, 400 when a field is missing or nobody has that sub, and 404 when the code is
// unknown, has expired, or was answered already.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	slog.SetLogLoggerLevel(slog.LevelWarn) // the OpenID library tells the default logger about each route
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "devidp:", err)
		os.Exit(1)
	}
}

// run is the whole program; it returns when ctx is done. Nothing is read from the environment: the
// parameter stands for the shape that all programs here share.
func run(ctx context.Context, args, _ []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("devidp", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	listenOn := flags.String("listen", "127.0.0.1:9100", "loopback `address` to listen on; port 0 takes a free one")
	accountsFile := flags.String("accounts", "", "YAML `file` that says who there is (required)")
	addrFile := flags.String("addr-file", "", "`file` to write the issuer URL to once it is listening")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stdout)
		flags.Usage()
		return nil
	} else if err != nil {
		return fmt.Errorf("reading the command line: %w", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("reading the command line: unexpected argument %q", flags.Arg(0))
	}
	if *accountsFile == "" {
		return errors.New("reading the command line: --accounts FILE is required")
	}

	accounts, err := loadAccounts(*accountsFile)
	if err != nil {
		return err
	}
	if *addrFile != "" { // whoever waits for it must not find the address of an earlier run
		if err := os.Remove(*addrFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing an old address file: %w", err)
		}
	}
	listener, err := listen(*listenOn)
	if err != nil {
		return err
	}
	defer listener.Close()

	issuer := "http://" + listener.Addr().String()
	provider, err := newProvider(issuer, accounts, time.Now)
	if err != nil {
		return err
	}
	if *addrFile != "" {
		if err := writeAtomically(*addrFile, issuer+"\n"); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(stdout, "issuer", issuer); err != nil {
		return fmt.Errorf("printing the issuer: %w", err)
	}
	return serve(ctx, listener, &http.Server{
		Handler:           provider.handler(),
		ErrorLog:          log.New(stderr, "devidp: ", 0),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
	})
}

// listen accepts literal loopback addresses only: what a name stands for is decided elsewhere.
func listen(address string) (net.Listener, error) {
	addrPort, err := netip.ParseAddrPort(address)
	if err != nil || !addrPort.Addr().IsLoopback() {
		return nil, fmt.Errorf("listening on %q: the development identity provider lets anybody be anybody, "+
			"so it listens on loopback only; give 127.0.0.1:PORT or [::1]:PORT", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return listener, nil
}

// serve answers requests until ctx is done, and then lets those that are running finish.
func serve(ctx context.Context, listener net.Listener, server *http.Server) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close() // a connection that does not end by itself does not keep the program alive
	}
	<-served
	return nil
}

// writeAtomically puts the file there complete or not at all.
func writeAtomically(name, content string) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".devidp-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(file.Name()) // finds nothing once the file has its name
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
