package agent

import "rostra/kit/cli"

// absent are the commands of Consul that people and scripts will call and that this program does not have (spec cli.md
// §2, later). Whoever adds one takes its line out.
func absent() []cli.Verb {
	const (
		control = "this version has no access control, every request is allowed; keep strangers off its ports"
		mesh    = "the service mesh is not part of this program"
		entries = "there are no configuration entries; what an agent does is set in its own configuration files"
		paid    = "it belongs to Consul Enterprise"
		cluster = "cluster peering is not part of this program; join datacenters with \"{name} join -wan\""
	)
	var verbs []cli.Verb
	for _, a := range []struct{ path, why string }{
		{"acl", control}, {"login", control}, {"logout", control},
		{"config", entries},
		{"connect", mesh}, {"intention", mesh}, {"resource", mesh}, {"troubleshoot", mesh},
		{"peering", cluster}, {"services export", cluster}, {"services exported-services", cluster},
		{"license", paid}, {"namespace", paid}, {"partition", paid}, {"operator area", paid}, {"operator segment", paid},
		{"snapshot agent", paid + "; run \"{name} snapshot save\" from a timer"},
		{"lock", "not in this version; make a session with PUT /v1/session/create and take the key with \"{name} kv put -acquire -session=ID\""},
		{"exec", "not in this version; send an event with \"{name} event\", or use the tool that you log in with"},
		{"watch", "not in this version; a request with ?index= and ?wait= returns when its answer changes"},
	} {
		verbs = append(verbs, cli.Verb{Path: a.path, Absent: a.why})
	}
	return verbs
}
