"""What Debian's python3-consul can ask of an agent, call by call: python.py HOST PORT. It ends with 0 if every answer is what the
package's users count on. Left out are its calls about ACLs. It is of the time of Consul 0.6 and sends some
writes by GET: the agent needs rostra { legacy_get_writes = true }."""

import sys
import threading
import time
import traceback

import consul

host, port = sys.argv[1], int(sys.argv[2])
c = consul.Consul(host=host, port=port)


def eventually(what, ask, holds):
    """Asks until the answer is as it shall be: what an agent registers comes into the catalog a little later."""
    for _ in range(200):
        answer = ask()
        if holds(answer):
            return answer
        time.sleep(0.05)
    raise AssertionError("there never was " + what)


def woken(ask, change):
    """Returns what a blocking query that knows the index answers after a change."""
    index, _ = ask(None)
    timer = threading.Timer(0.3, change)
    timer.start()
    began = time.time()
    after, answer = ask(index)
    timer.join()
    assert int(after) > int(index), (index, after)
    assert 0.2 < time.time() - began < 15, time.time() - began
    return answer


def same(got, want):
    assert got == want, "%r, not %r" % (got, want)


def status():
    assert ":" in c.status.leader()
    same(len(c.status.peers()), 1)


def kv():
    index, got = c.kv.get("none")
    assert got is None and int(index) > 0
    same(c.kv.put("a/b", "1"), True)
    same(c.kv.put("a/c", b"\x00\xff", flags=7), True)
    _, got = c.kv.get("a/c")
    same((got["Value"], got["Flags"], got["Key"]), (b"\x00\xff", 7, "a/c"))
    _, many = c.kv.get("a/", recurse=True)
    same([e["Key"] for e in many], ["a/b", "a/c"])
    same(c.kv.get("a/", keys=True)[1], ["a/b", "a/c"])
    same(c.kv.get("", keys=True, separator="/")[1], ["a/"])
    same(c.kv.put("a/b", "no", cas=1), False)
    same(c.kv.put("a/b", "yes", cas=c.kv.get("a/b")[1]["ModifyIndex"]), True)
    for mode in ("default", "consistent", "stale"):
        same(c.kv.get("a/b", consistency=mode)[1]["Value"], b"yes")
    same(c.kv.delete("a/b", cas=1), False)
    same(c.kv.delete("a/", recurse=True), True)
    same(c.kv.get("a/", recurse=True)[1], None)


def blocking():
    c.kv.put("w", "1")
    got = woken(lambda i: c.kv.get("w", index=i, wait="20s"), lambda: c.kv.put("w", "2"))
    same(got["Value"], b"2")


def session():
    one = c.session.create(name="one", ttl=30, behavior="release", lock_delay=1)
    two = c.session.create()
    same(c.kv.put("lock", "x", acquire=one), True)
    same(c.kv.put("lock", "y", acquire=two), False)
    same(c.kv.get("lock")[1]["Session"], one)
    same(c.session.info(one)[1]["Name"], "one")
    same(c.session.renew(one)["ID"], one)
    same(len(c.session.list()[1]), 2)
    same(len(c.session.node(c.agent.self()["Config"]["NodeName"])[1]), 2)
    same(c.kv.put("lock", "z", release=one), True)
    for s in (one, two):
        same(c.session.destroy(s), True)
    try:
        c.session.renew(one)
        raise AssertionError("a session that is gone was renewed")
    except consul.NotFound:
        pass


def agent():
    same(c.agent.service.register("web", service_id="web-1", address="127.0.0.9", port=8080, tags=["a"], check=consul.Check.ttl("1h")), True)
    same(c.agent.service.register("plain"), True)
    same(c.agent.check.register("own", check=consul.Check.ttl("1h"), check_id="own", notes="n"), True)
    same(c.agent.check.register("port", check=consul.Check.tcp(host, port, "10s", timeout="1s")), True)
    same(c.agent.check.register("page", check=consul.Check.http("http://%s:%d/v1/status/leader" % (host, port), "10s", timeout="1s", deregister="90m")), True)
    same(sorted(c.agent.services()), ["plain", "web-1"])
    for call, want in ((c.agent.check.ttl_pass, "passing"), (c.agent.check.ttl_warn, "warning"), (c.agent.check.ttl_fail, "critical"), (c.agent.check.ttl_pass, "passing")):
        for check in ("own", "service:web-1"):
            same(call(check, "said so"), True)
            same((c.agent.checks()[check]["Status"], c.agent.checks()[check]["Output"]), (want, "said so"))
    eventually("the checks that run to pass", c.agent.checks, lambda l: l["port"]["Status"] == l["page"]["Status"] == "passing")
    same(c.agent.service.maintenance("web-1", True, "work"), True)
    assert "_service_maintenance:web-1" in c.agent.checks()
    same(c.agent.service.maintenance("web-1", False), True)
    same(c.agent.maintenance(True, "more"), True)
    same(c.agent.maintenance(False), True)
    same(len(c.agent.members()), 1)
    assert c.agent.self()["Config"]["Server"] is True


def catalog_and_health():
    node = c.agent.self()["Config"]["NodeName"]
    eventually("web in the catalog", lambda: c.health.service("web", passing=True)[1], lambda l: len(l) == 1)
    same(c.catalog.datacenters(), ["dc1"])
    same(c.catalog.nodes()[1][0]["Node"], node)
    same(c.catalog.services()[1]["web"], ["a"])
    web = c.catalog.service("web", tag="a")[1][0]
    same((web["ServiceID"], web["ServicePort"], web["ServiceAddress"]), ("web-1", 8080, "127.0.0.9"))
    assert "web-1" in c.catalog.node(node)[1]["Services"]
    same(c.health.checks("web")[1][0]["Status"], "passing")
    assert len(c.health.node(node)[1]) >= 2
    assert len(c.health.state("passing")[1]) >= 2
    same(c.catalog.register("far", "10.0.0.9", service={"Service": "db", "Port": 5432}, check={"Name": "alive", "Status": "passing"}), True)
    same(c.catalog.service("db", near="_agent")[1][0]["Address"], "10.0.0.9")
    same(c.catalog.deregister("far"), True)
    same(c.catalog.service("db")[1], [])
    got = woken(lambda i: c.health.service("web", passing=True, index=i, wait="20s"), lambda: c.agent.check.ttl_fail("service:web-1"))
    same(got, [])


def query():
    same(c.agent.check.ttl_pass("service:web-1"), True)
    i = c.query.create("web", name="q", onlypassing=True, ttl="10s")["ID"]
    same([q["Name"] for q in c.query.list()], ["q"])
    same(c.query.get(i)[0]["Service"]["Service"], "web")
    got = eventually("web by the query", lambda: c.query.execute("q"), lambda r: len(r["Nodes"]) == 1)
    same((got["Service"], got["Nodes"][0]["Service"]["ID"], got["DNS"]["TTL"]), ("web", "web-1", "10s"))
    same(c.query.explain("q")["Query"]["ID"], i)
    c.query.update(i, service="plain", name="q2")
    same(c.query.execute("q2")["Service"], "plain")
    same(c.query.delete(i), True)
    same(c.query.list(), [])


def event():
    fired = c.event.fire("deploy", "v1")
    same(fired["Name"], "deploy")
    _, events = eventually("the event", lambda: c.event.list("deploy"), lambda l: len(l[1]) == 1)
    same((events[0]["ID"], events[0]["Payload"]), (fired["ID"], b"v1"))


def coordinate():
    same([d["Datacenter"] for d in c.coordinate.datacenters()], ["dc1"])
    assert isinstance(c.coordinate.nodes()[1], list)


def operator():
    same(len(c.operator.raft_config()["Servers"]), 1)


def end():
    for i in ("web-1", "plain"):
        same(c.agent.service.deregister(i), True)
    for i in ("own", "port", "page"):
        same(c.agent.check.deregister(i), True)
    same(c.agent.services(), {})
    eventually("web gone", lambda: c.catalog.service("web")[1], lambda l: l == [])


failed = False
for step in (status, kv, blocking, session, agent, catalog_and_health, query, event, coordinate, operator, end):
    try:
        step()
        print("ok: " + step.__name__)
    except Exception:
        failed = True
        print("FAILED: " + step.__name__)
        traceback.print_exc(file=sys.stdout)
sys.exit(failed)
