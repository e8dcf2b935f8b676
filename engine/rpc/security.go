package rpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"rostra/kit/cert"
)

// ServerName returns the name that the certificates of a datacenter's servers bear: "server.dc1.consul". domain may end in
// a dot.
func ServerName(datacenter, domain string) string {
	return "server." + datacenter + "." + strings.TrimSuffix(domain, ".")
}

// Certified returns the Security of an agent whose connections are held to its certificates, as they are when a connection
// begins: verify_incoming, verify_outgoing and verify_server_hostname are theirs. server is the ServerName of the agent's
// own datacenter, which log streams do not leave.
func Certified(certs *cert.Keeper, server string) Security { return &certified{certs, server} }

type certified struct {
	certs  *cert.Keeper
	server string
}

func (s *certified) Incoming() *tls.Config { return s.certs.Now().Incoming() }

func (s *certified) Outgoing(to Target) *tls.Config { return s.certs.Now().Outgoing(to.Server) }

func (s *certified) Plain() bool { return !s.certs.Now().Conf().VerifyIncoming }

// LogPeer demands the server's name of who takes part in the log, so that the certificate of a client agent does not make
// a server. Where it is not told who comes in, names prove nothing.
func (s *certified) LogPeer(peer tls.ConnectionState) error {
	c := s.certs.Now().Conf()
	if !c.VerifyIncoming || !c.VerifyName {
		return nil
	}
	if len(peer.VerifiedChains) == 0 { // a reload came between
		return errors.New("its certificate was not verified")
	}
	if err := peer.PeerCertificates[0].VerifyHostname(s.server); err != nil {
		return fmt.Errorf("it is no server of this datacenter (verify_server_hostname): %w", err)
	}
	return nil
}
