package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/httpapi"
)

// serveNothing is the program's other life: a server with the settings of the keyserver's, whose handler reads the
// body and answers so many bytes. It says where it listens, and ends when its standard input does.
func serveNothing(kind string, size int) error {
	var config *tls.Config
	if kind == "tls" {
		certificate, err := selfSigned()
		if err != nil {
			return err
		}
		config = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	answer := []byte(strings.Repeat("x", size))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", api.MediaJSON)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.WriteHeader(http.StatusCreated)
		w.Write(answer)
	})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := httpapi.NewServer(handler, config, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	fmt.Println(socket.Addr())
	if config != nil {
		err = server.ServeTLS(socket, "", "")
	} else {
		err = server.Serve(socket)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// noop is a server that does nothing, in a process of its own.
type noop struct {
	command *exec.Cmd
	stdin   io.Closer
	address string
	tls     *tls.Config // nil: plain HTTP
}

func startNoop(ctx context.Context, kind string, size int) (*noop, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n := &noop{command: exec.CommandContext(ctx, program, "-serve-nothing", kind, "-size", strconv.Itoa(size))}
	n.command.Stderr = os.Stderr
	if n.stdin, err = n.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := n.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.command.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the server that does nothing: %w", err), n.stop())
	}
	n.address = strings.TrimSpace(line)
	if kind == "tls" {
		n.tls = &tls.Config{InsecureSkipVerify: true} // the certificate is checked once for each connection, which is not measured
	}
	return n, nil
}

func (n *noop) stop() error { return errors.Join(n.stdin.Close(), n.command.Wait()) }
