// What the npm package consul can ask of an agent, call by call: node node.js HOST PORT. It ends with 0 if every answer is
// what the package's users count on. Left out are its calls about ACLs and the service mesh. The package itself
// turns the answer false into undefined, and texts of 80 letters and more into the name of the status.
const assert = require("assert");
const Consul = require("consul");

const [host, port] = process.argv.slice(2);
const consul = new Consul({ host, port });
const later = (ms) => new Promise((done) => setTimeout(done, ms));

// eventually asks again until the answer is as it shall be: what an agent registers comes into the catalog a little later.
async function eventually(what, ask, is) {
  for (let i = 0; i < 200; i++) {
    const answer = await ask();
    if (is(answer)) return answer;
    await later(50);
  }
  assert.fail("there never was " + what);
}

// watched gives the first answer of a watch and the one after change was called.
function watched(method, options, change) {
  return new Promise((done, fail) => {
    const watch = consul.watch({ method, options: { ...options, wait: "20s" } });
    let first;
    watch.on("error", (e) => { watch.end(); fail(e); });
    watch.on("change", (data) => {
      if (first === undefined) {
        first = data === undefined ? null : data;
        Promise.resolve(change()).catch(fail);
        return;
      }
      watch.end();
      done([first, data]);
    });
  });
}

const steps = {
  async status() {
    assert.match(await consul.status.leader(), /^[0-9.]+:\d+$/);
    assert.strictEqual((await consul.status.peers()).length, 1);
  },

  async kv() {
    assert.strictEqual(await consul.kv.get("none"), undefined);
    assert.strictEqual(await consul.kv.set("a/b", "äö\n1"), true);
    assert.strictEqual(await consul.kv.set({ key: "a/c d", value: "2", flags: 7 }), true);
    const got = await consul.kv.get("a/b");
    assert.strictEqual(got.Value, "äö\n1");
    const raw = await consul.kv.get({ key: "a/b", raw: true });
    assert.strictEqual(String(raw), "äö\n1");
    const buffer = await consul.kv.get({ key: "a/b", buffer: true });
    assert.ok(Buffer.isBuffer(buffer.Value));
    assert.strictEqual((await consul.kv.get("a/c d")).Flags, 7);
    assert.deepStrictEqual((await consul.kv.get({ key: "a/", recurse: true })).map((e) => e.Key), ["a/b", "a/c d"]);
    assert.deepStrictEqual(await consul.kv.keys("a/"), ["a/b", "a/c d"]);
    assert.deepStrictEqual(await consul.kv.keys({ key: "", separator: "/" }), ["a/"]);
    assert.ok(!(await consul.kv.set({ key: "a/b", value: "no", cas: "1" })));
    assert.strictEqual(await consul.kv.set({ key: "a/b", value: "yes", cas: String(got.ModifyIndex) }), true);
    assert.strictEqual(await consul.kv.del("a/b"), true);
    assert.strictEqual(await consul.kv.del({ key: "a/", recurse: true }), true);
    await assert.rejects(consul.kv.keys("a/"), /not found/);
  },

  async "a watch of a key"() {
    await consul.kv.set("w", "1");
    const [first, second] = await watched(consul.kv.get, { key: "w" }, () => consul.kv.set("w", "2"));
    assert.deepStrictEqual([first.Value, second.Value], ["1", "2"]);
  },

  async txn() {
    const b64 = (s) => Buffer.from(s).toString("base64");
    const done = await consul.transaction.create([
      { KV: { Verb: "set", Key: "t/1", Value: b64("1") } },
      { KV: { Verb: "get", Key: "t/1" } },
    ]);
    assert.strictEqual(done.Results.length, 2);
    assert.strictEqual(done.Results[1].KV.Value, b64("1"));
    await assert.rejects(consul.transaction.create([{ KV: { Verb: "check-not-exists", Key: "t/1" } }]), /conflict/);
  },

  async "sessions and locks"() {
    const { ID } = await consul.session.create({ name: "one", ttl: "30s", behavior: "release", lockdelay: "1s" });
    const two = await consul.session.create();
    assert.strictEqual(await consul.kv.set({ key: "lock", value: "x", acquire: ID }), true);
    assert.ok(!(await consul.kv.set({ key: "lock", value: "y", acquire: two.ID })));
    const info = await consul.session.get(ID);
    assert.strictEqual((Array.isArray(info) ? info[0] : info).Name, "one");
    const renewed = await consul.session.renew(ID);
    assert.strictEqual(renewed[0].ID, ID);
    assert.strictEqual((await consul.session.list()).length, 2);
    assert.strictEqual((await consul.session.node((await consul.agent.self()).Config.NodeName)).length, 2);
    assert.strictEqual(await consul.kv.set({ key: "lock", value: "z", release: ID }), true);
    await consul.session.destroy(ID);
    await consul.session.destroy(two.ID);
    assert.deepStrictEqual(await consul.session.list(), []);
  },

  async "the agent's services and checks"() {
    await consul.agent.service.register({
      id: "web-1", name: "web", tags: ["a"], address: "127.0.0.9", port: 8080, meta: { v: "1" }, check: { ttl: "1h" },
    });
    await consul.agent.service.register("plain");
    await consul.agent.check.register({ id: "own", name: "own", ttl: "1h", notes: "n" });
    const services = await consul.agent.service.list();
    assert.deepStrictEqual(Object.keys(services).sort(), ["plain", "web-1"]);
    assert.strictEqual(services["web-1"].Port, 8080);
    const status = async () => Object.fromEntries(Object.values(await consul.agent.check.list()).map((c) => [c.CheckID, c.Status]));
    for (const [verb, want] of [["pass", "passing"], ["warn", "warning"], ["fail", "critical"], ["pass", "passing"]]) {
      await consul.agent.check[verb]({ id: "service:web-1", note: "said so" });
      await consul.agent.check[verb]("own");
      assert.deepStrictEqual(await status(), { "service:web-1": want, own: want });
    }
    assert.strictEqual((await consul.agent.checks())["service:web-1"].Output, "said so");
    await consul.agent.service.maintenance({ id: "web-1", enable: true, reason: "work" });
    assert.strictEqual((await status())["_service_maintenance:web-1"], "critical");
    await consul.agent.service.maintenance({ id: "web-1", enable: false });
    await consul.agent.maintenance({ enable: true, reason: "more" });
    await consul.agent.maintenance({ enable: false });
    assert.strictEqual((await consul.agent.members()).length, 1);
    await consul.agent.reload();
  },

  async "catalog and health"() {
    const self = (await consul.agent.self()).Config.NodeName;
    await eventually("web in the catalog", () => consul.health.service({ service: "web", passing: true }), (l) => l.length === 1);
    assert.deepStrictEqual(await consul.catalog.datacenters(), ["dc1"]);
    assert.strictEqual((await consul.catalog.node.list())[0].Node, self);
    assert.deepStrictEqual((await consul.catalog.service.list()).web, ["a"]);
    const [web] = await consul.catalog.service.nodes("web");
    assert.deepStrictEqual([web.ServiceID, web.ServicePort, web.ServiceMeta.v], ["web-1", 8080, "1"]);
    assert.ok((await consul.catalog.node.services(self)).Services["web-1"]);
    assert.ok((await consul.health.node(self)).length >= 2);
    assert.strictEqual((await consul.health.checks("web"))[0].Status, "passing");
    assert.ok((await consul.health.state("passing")).length >= 2);
    assert.deepStrictEqual(await consul.health.service({ service: "web", tag: "other" }), []);
    await consul.catalog.register({ node: "far", address: "10.0.0.9", service: { service: "db", port: 5432 }, check: { node: "far", checkid: "alive", name: "alive", status: "passing" } });
    assert.strictEqual((await consul.catalog.service.nodes("db"))[0].Address, "10.0.0.9");
    await consul.catalog.deregister({ node: "far" });
    assert.deepStrictEqual(await consul.catalog.service.nodes("db"), []);
  },

  async "a watch of a service"() {
    const [first, second] = await watched(consul.health.service, { service: "web", passing: true },
      () => consul.agent.check.fail("service:web-1"));
    assert.deepStrictEqual([first.length, second.length], [1, 0]);
  },

  async "prepared queries"() {
    await consul.agent.check.pass("service:web-1");
    const { ID } = await consul.query.create({ name: "q", service: { service: "web", onlypassing: true, failover: { datacenters: ["dc2"] } }, dns: { ttl: "10s" } });
    await consul.query.create({ name: "t-", template: { type: "name_prefix_match" }, service: { service: "${name.suffix}" } });
    assert.strictEqual((await consul.query.list()).length, 2);
    assert.strictEqual((await consul.query.get(ID)).DNS.TTL, "10s");
    const run = await eventually("web by the query", () => consul.query.execute("q"), (r) => r.Nodes.length === 1);
    assert.deepStrictEqual([run.Service, run.Datacenter, run.Nodes[0].Service.ID], ["web", "dc1", "web-1"]);
    assert.strictEqual((await consul.query.execute("t-web")).Nodes.length, 1);
    await consul.query.explain("t-web");
    await consul.query.update({ query: ID, name: "q2", service: { service: "plain" } });
    assert.strictEqual((await consul.query.execute("q2")).Service, "plain");
    await consul.query.destroy(ID);
    await assert.rejects(consul.query.get(ID), /not found/i);
  },

  async events() {
    const fired = await consul.event.fire({ name: "deploy", payload: "v1" });
    assert.strictEqual(fired.Name, "deploy");
    const list = await eventually("the event", () => consul.event.list("deploy"), (l) => l.length === 1);
    assert.deepStrictEqual([list[0].ID, list[0].Payload], [fired.ID, "v1"]);
  },

  async "the end of it"() {
    for (const id of ["web-1", "plain"]) await consul.agent.service.deregister(id);
    await consul.agent.check.deregister("own");
    assert.deepStrictEqual(await consul.agent.services(), {});
    await eventually("web gone", () => consul.catalog.service.nodes("web"), (l) => l.length === 0);
    await assert.rejects(consul.agent.check.pass("none"), /not found/);
    await assert.rejects(consul.agent.forceLeave("nobody"));
  },
};

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log("ok: " + name);
    } catch (e) {
      console.log("FAILED: " + name + "\n" + (e.stack || e));
      process.exitCode = 1;
    }
  }
  process.exit();
})();
