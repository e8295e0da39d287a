package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const kubeletPort = 10250

// serve is the part of a kubelet that `kubectl exec`, `logs` and `port-forward` need.
func (n *node) serve() {
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		p, err := n.find(r.PathValue("namespace"), r.PathValue("pod"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		http.ServeFile(w, r, p.log(r.PathValue("container")))
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("namespace") + "/" + r.PathValue("pod")
		forwarder := forwarder{n, r.PathValue("namespace"), r.PathValue("pod")}
		portforward.ServePortForward(w, r, forwarder, name, "", nil, time.Hour, 30*time.Second, portforward.SupportedProtocols)
	})
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		p, err := n.find(r.PathValue("namespace"), r.PathValue("pod"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, executor{p}, "", "", r.PathValue("container"), r.URL.Query()["command"], options,
			time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
	})
	server := http.Server{
		Addr: fmt.Sprint(":", kubeletPort), Handler: mux,
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{certificate()}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1, which can be upgraded
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

// certificate is one that the API server does not verify.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.ParseIP(nodeAddress)}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}

type forwarder struct {
	node            *node
	namespace, name string
}

// PortForward connects a stream to a port on a Pod's loopback, as a kubelet does.
func (f forwarder) PortForward(_ context.Context, _ string, _ /* UID */ string, port int32, stream io.ReadWriteCloser) error {
	p, err := f.node.find(f.namespace, f.name)
	if err != nil {
		return err
	}
	var connection net.Conn
	err = inNamespace(p.namespace, func() (err error) {
		connection, err = net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 2*time.Second)
		return err
	})
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}

type executor struct{ pod *pod }

// ExecInContainer runs a command beside a container's process, as the same user.
func (e executor) ExecInContainer(
	ctx context.Context, _, _ string, container string, arguments []string, in io.Reader, out, errors io.WriteCloser,
	_ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	for _, c := range e.pod.all() {
		if c.Name == container {
			environment, err := e.pod.environment(ctx, &c)
			if err != nil {
				return err
			}
			command := e.pod.command(&c, arguments, environment)
			command.Stdin, command.Stdout, command.Stderr = in, out, errors
			if err := inNamespace(e.pod.namespace, command.Start); err != nil {
				return err
			}
			return command.Wait()
		}
	}
	return fmt.Errorf("no container %s", container)
}
