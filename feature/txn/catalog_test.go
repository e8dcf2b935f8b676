package txn

import (
	"fmt"
	"strings"
	"testing"

	"rostra/feature/catalog"
	"rostra/kit/fault"
)

const (
	nodeID = "6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a11"
	mesh   = `"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":""`
)

func nodeOp(verb, fields string) string {
	return fmt.Sprintf(`{"Node":{"Verb":%q,"Node":{%s}}}`, verb, fields)
}

func serviceOp(verb, node, fields string) string {
	return fmt.Sprintf(`{"Service":{"Verb":%q,"Node":%q,"Service":{%s}}}`, verb, node, fields)
}

func checkOp(verb, fields string) string {
	return fmt.Sprintf(`{"Check":{"Verb":%q,"Check":{%s}}}`, verb, fields)
}

func list(ops ...string) string { return "[" + strings.Join(ops, ",") + "]" }

// TestCatalog walks through the operations of spec http/txn.md on nodes, services and checks; each line builds on those
// before it. <n> stands for any index; @name in a request is the ModifyIndex of the row that the line of that name gave first.
func TestCatalog(t *testing.T) {
	node := `{"Node":{"ID":"` + nodeID + `","Node":"ext","Address":"192.0.2.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"rack":"b"},"CreateIndex":<n>,"ModifyIndex":<n>}}`
	service := `{"Service":{"ID":"s","Service":"svc","Tags":["a"],"Address":"","Meta":null,"Port":9,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,` + mesh + `,"CreateIndex":<n>,"ModifyIndex":<n>}}`
	check := `{"Check":{"Node":"ext","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"","ServiceID":"s","ServiceName":"svc","ServiceTags":["a"],` +
		`"Type":"http","Interval":"","Timeout":"","ExposedPort":0,"Definition":{"Interval":"5s","HTTP":"http://x"},"CreateIndex":<n>,"ModifyIndex":<n>}}`
	done := func(tail string, rows ...string) string {
		return `{"Results":[` + strings.Join(rows, ",") + `],"Errors":null` + tail
	}
	const ext = `"ID":"` + nodeID + `","Node":"ext","Address":"192.0.2.1","Meta":{"rack":"b"}`
	const svc = `"ID":"s","Service":"svc","Tags":["a"],"Port":9`
	const chk = `"Node":"ext","CheckID":"c","Name":"c","Status":"passing","ServiceID":"s","Definition":{"HTTP":"http://x","Interval":"5s"}`
	tests := []struct {
		name, body string
		status     int
		want       string
	}{
		{"unknown member", list(nodeOp("set", `"Foo":1`)), 400, `Failed to parse body: json: unknown field "Foo"`},
		{"what is not there", list(nodeOp("get", `"Node":"ext"`), serviceOp("get", "ext", `"ID":"s"`), checkOp("get", `"Node":"ext","CheckID":"c"`)), 409,
			failed(readTail, "0", `node "ext" doesn't exist`, "1", `service "s" on node "ext" doesn't exist`, "2", `check "c" on node "ext" doesn't exist`)},
		{"what never could be", list(nodeOp("set", `"Address":"x"`), nodeOp("set", `"Node":"a","ID":"x"`), serviceOp("set", "a", `"ID":"x"`), serviceOp("set", "a", `"Service":"x","Address":"0.0.0.0"`),
			nodeOp("x", `"Node":"a"`), serviceOp("x", "a", `"Service":"x"`), checkOp("x", `"Node":"a","CheckID":"c"`)), 409,
			failed("}", "0", "Must provide node", "1", "Bad node ID: uuid string is wrong length", "2", "Must provide service name (Service.Service) when service ID is provided", "3", "Invalid service address",
				"4", "unknown node operation: x", "5", "unknown service operation: x", "6", "unknown check operation: x")},
		{"without their node", list(serviceOp("set", "ext", svc), checkOp("set", chk)), 409, failed("}", "0", "Missing node registration", "1", "Missing node registration")},
		{"without its service", list(nodeOp("set", ext), checkOp("set", chk)), 409, failed("}", "1", "Missing service registration")},
		{"nothing of it is left", list(nodeOp("get", `"Node":"ext"`)), 409, failed(readTail, "0", `node "ext" doesn't exist`)},
		{"set", list(nodeOp("set", ext), serviceOp("set", "EXT", svc), checkOp("set", chk)), 200, done("}", node, service, check)},
		{"get", list(nodeOp("get", `"Node":"Ext"`), serviceOp("get", "ext", `"ID":"S"`), checkOp("get", `"Node":"ext","CheckID":"C"`)), 200, done(readTail, node, service, check)},
		{"get by ID", list(nodeOp("get", `"Node":"other","ID":"`+strings.ToUpper(nodeID)+`"`)), 200, done(readTail, node)},
		{"get by the ID of nobody", list(nodeOp("get", `"Node":"ext","ID":"6f1a2c30-98aa-4d0e-8d7b-0c2f5d1f9a12"`)), 409, failed(readTail, "0", `node "ext" doesn't exist`)},
		{"stale", list(nodeOp("cas", ext+`,"ModifyIndex":1`), serviceOp("cas", "ext", svc), checkOp("cas", chk+`,"ModifyIndex":1`), nodeOp("delete-cas", `"Node":"ext","ModifyIndex":1`),
			serviceOp("delete-cas", "ext", svc), checkOp("delete-cas", chk)), 409,
			failed("}", "0", `failed to set node "ext", index is stale`, "1", `failed to set service "s" on node "ext", index is stale`, "2", `failed to set check "c" on node "ext", index is stale`,
				"3", `failed to delete node "ext", index is stale`, "4", `failed to delete service "s" on node "ext", index is stale`, "5", `failed to delete check "c" on node "ext", index is stale`)},
		{"cas of what is not there", list(nodeOp("cas", `"Node":"x","Address":"y","ModifyIndex":7`), checkOp("delete-cas", `"Node":"ext","CheckID":"x"`)), 409,
			failed("}", "0", `failed to set node "x", index is stale`, "1", `failed to delete check "x" on node "ext", index is stale`)},
		{"cas", list(nodeOp("cas", ext+`,"ModifyIndex":@set`), serviceOp("cas", "ext", svc+`,"ModifyIndex":@set`), checkOp("cas", chk+`,"ModifyIndex":@set`), serviceOp("cas", "ext", `"Service":"new"`)), 200,
			done("}", node, service, check, strings.NewReplacer(`"ID":"s","Service":"svc","Tags":["a"]`, `"ID":"new","Service":"new","Tags":[]`, `"Port":9,`, "").Replace(service))},
		{"deletions", list(checkOp("delete-cas", `"Node":"ext","CheckID":"c","ModifyIndex":@set`), checkOp("delete", `"Node":"ext","CheckID":"c"`), serviceOp("delete-cas", "ext", svc+`,"ModifyIndex":@set`),
			serviceOp("delete", "ext", svc), serviceOp("get", "ext", `"ID":"new"`), nodeOp("delete-cas", `"Node":"ext","ModifyIndex":@set`), nodeOp("delete", `"Node":"ext"`)), 200,
			done("}", strings.NewReplacer(`"ID":"s","Service":"svc","Tags":["a"]`, `"ID":"new","Service":"new","Tags":[]`, `"Port":9,`, "").Replace(service))},
		{"with keys", list(kvOp(`"Verb":"set","Key":"k"`), nodeOp("set", `"Node":"m","Address":"a"`), kvOp(`"Verb":"cas","Key":"a","Index":1`)), 409, failed("}", "2", `failed to set key "a", index is stale`)},
		{"all of it was undone", list(kvOp(`"Verb":"check-not-exists","Key":"k"`), nodeOp("get", `"Node":"m"`)), 409, failed(readTail, "1", `node "m" doesn't exist`)},
		{"the first of several", `[{"Node":{"Verb":"get","Node":{"Node":"n1"}},"KV":{"Verb":"check-not-exists","Key":"k"}}]`, 200, done(readTail)},
	}
	a := start(t)
	index := strings.NewReplacer()
	for _, tt := range tests {
		status, _, body := a.Do("PUT", "/v1/txn", index.Replace(tt.body))
		if got := indexes.ReplaceAllString(body, `"${1}Index":<n>`); status != tt.status || got != tt.want {
			t.Errorf("%s: %d %s\nwant %d %s", tt.name, status, got, tt.status, tt.want)
		}
		if _, after, ok := strings.Cut(body, `"ModifyIndex":`); ok && tt.name == "set" {
			n, _, _ := strings.Cut(after, "}")
			index = strings.NewReplacer("@set", n)
		}
	}
}

// TestOldServers: while a server of the datacenter knows keys only, nothing else is put into the log.
func TestOldServers(t *testing.T) {
	keys := &Txn{Ops: []Op{{}}}
	if err := keys.Under(1); err != nil {
		t.Error(err)
	}
	both := &Txn{Ops: []Op{{}, {Catalog: &catalog.Op{Record: catalog.Record{Service: &catalog.Service{}}}}}}
	if err := both.Under(1); !fault.Is(err, fault.Refused) || !strings.HasPrefix(err.Error(), "operation 1 is on a service") {
		t.Errorf("%v", err)
	}
	if err := both.Under(2); err != nil {
		t.Error(err)
	}
}
