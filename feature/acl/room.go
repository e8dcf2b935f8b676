// Package acl answers the access-rule endpoints. Rules do not exist yet: every endpoint answers as Consul does with
// ACLs switched off, so that clients that probe for them go on without.
package acl

import (
	"strings"

	"rostra/engine/room"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// Room is the acl feature.
var Room = room.Room{
	Name: "acl",
	Open: func(*room.Host, any) (*room.Part, error) { return &room.Part{Routes: routes()}, nil },
}

// endpoints are the paths of spec http/acl.md with their methods; those that end in "/" take an argument.
var endpoints = []struct{ path, methods string }{
	{"/v1/acl/bootstrap", "PUT"}, {"/v1/acl/replication", "GET"},
	{"/v1/acl/policies", "GET"}, {"/v1/acl/policy", "PUT"}, {"/v1/acl/policy/", "GET PUT DELETE"}, {"/v1/acl/policy/name/", "GET"},
	{"/v1/acl/roles", "GET"}, {"/v1/acl/role", "PUT"}, {"/v1/acl/role/", "GET PUT DELETE"}, {"/v1/acl/role/name/", "GET"},
	{"/v1/acl/tokens", "GET"}, {"/v1/acl/token", "PUT"}, {"/v1/acl/token/self", "GET"}, {"/v1/acl/token/", "GET PUT DELETE"},
	{"/v1/acl/auth-methods", "GET"}, {"/v1/acl/auth-method", "PUT"}, {"/v1/acl/auth-method/", "GET PUT DELETE"},
	{"/v1/acl/binding-rules", "GET"}, {"/v1/acl/binding-rule", "PUT"}, {"/v1/acl/binding-rule/", "GET PUT DELETE"},
	{"/v1/acl/login", "POST"}, {"/v1/acl/logout", "POST"},
	{"/v1/acl/templated-policies", "GET"}, {"/v1/acl/templated-policy/name/", "GET"}, {"/v1/acl/templated-policy/preview/", "POST"},
	{"/v1/internal/acl/authorize", "POST"}, {"/v1/agent/token/", "PUT"},
}

var errDisabled = fault.New(fault.Disabled, "ACL support disabled")

func routes() []httpd.Route {
	var all []httpd.Route
	for _, e := range endpoints {
		for _, m := range strings.Fields(e.methods) {
			all = append(all, httpd.Route{Method: m, Path: e.path, Serve: func(*httpd.Request) (httpd.Reply, error) {
				return httpd.Reply{}, errDisabled
			}})
		}
	}
	return all
}
