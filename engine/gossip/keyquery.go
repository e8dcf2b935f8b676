package gossip

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/serf/serf"
)

// KeyOp is something that all members of a pool do with their keyrings.
type KeyOp byte

// The operations on keyrings. A rotation is InstallKey, UseKey and, for the old key, RemoveKey, each once all members have
// done the one before. All of them may be repeated.
const (
	ListKeys   KeyOp = iota + 1
	InstallKey       // decrypt with it, too
	UseKey           // encrypt with it
	RemoveKey        // forget it; an error for the key that encrypts
)

// KeyReport is what the members of a pool answered.
type KeyReport struct {
	Messages map[string]string // by member: why it refused, or what it remarked
	Keys     map[string]int    // base64 of a key: how many members have it; of ListKeys only
	Primary  map[string]int    // base64 of a key: how many members encrypt with it; of ListKeys only

	Nodes, Responses, Errors int // alive members; those that answered; those that refused
}

// keyQuery is the name of the query. Serf has queries of its own for this, but it writes the file in place, after which a
// power cut may leave half of it.
const keyQuery = "rostra:keys"

// keyAsksLimit is how many operations wait in a member for its disk; those beyond are not answered and count as missing.
const keyAsksLimit = 16

// keyTime is how long the answers of one round are waited for, at most: Serf's own time grows with the pool, and on a WAN is 8 s
// for a handful. Two rounds must be over before the agent or server that asked for them gives up the one that does it
// (9 s for another datacenter's), or it would not learn who is missing.
const keyTime = 4 * time.Second

// listLimit is how many bytes of keys fit into an answer; Serf allows 1024 for all of it.
const listLimit = 800

func equalKeys(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// Keys has every alive member do op with its keyring, this one included, and waits for the answers; key is not looked at
// for ListKeys. relay is how many other members, 0 to 5, carry each answer as well. If a member refuses or does not
// answer, the report is returned with an error.
func (p *Pool) Keys(ctx context.Context, op KeyOp, key []byte, relay int) (KeyReport, error) {
	r := KeyReport{Messages: map[string]string{}, Keys: map[string]int{}, Primary: map[string]int{}}
	from := map[string]bool{}
	// Answers are single packets that may be lost: who is missing is asked once more.
	for round := 0; round < 2 && (round == 0 || r.Responses < r.Nodes); round++ {
		r.Nodes = p.serf.Memberlist().NumMembers()
		if err := p.askKeys(ctx, op, key, relay, &r, from); err != nil {
			return r, err
		}
	}
	switch {
	case r.Errors > 0:
		return r, fmt.Errorf("%d/%d nodes reported failure", r.Errors, r.Nodes)
	case r.Responses < r.Nodes:
		return r, fmt.Errorf("%d/%d nodes reported success", r.Responses, r.Nodes)
	}
	return r, nil
}

// askKeys asks all and collects answers of members that are not in from yet, until all have answered or the time is over.
func (p *Pool) askKeys(ctx context.Context, op KeyOp, key []byte, relay int, r *KeyReport, from map[string]bool) error {
	params := p.serf.DefaultQueryParams()
	params.RelayFactor = uint8(relay)
	params.Timeout = min(params.Timeout, keyTime)
	payload := append([]byte{byte(op)}, key...)
	if op == ListKeys {
		payload = payload[:1]
	}
	query, err := p.serf.Query(keyQuery, payload, params)
	if err != nil {
		return fmt.Errorf("cannot ask for the keyrings: %w", err)
	}
	defer query.Close()
	for r.Responses < r.Nodes {
		select {
		case answer, ok := <-query.ResponseCh():
			if !ok {
				return nil // the time is over
			}
			if !from[answer.From] {
				from[answer.From] = true
				r.add(answer.From, answer.Payload, op)
			}
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for the keyrings: %w", ctx.Err())
		case <-p.stop:
			return fmt.Errorf("cannot wait for the keyrings: %w", errClosed)
		}
	}
	return nil
}

// add counts one answer.
func (r *KeyReport) add(from string, payload []byte, op KeyOp) {
	r.Responses++
	keys, text, err := readKeyAnswer(payload, op)
	if err != nil {
		r.Errors++
		text = err.Error()
	}
	if text != "" {
		r.Messages[from] = text
	}
	for i, key := range keys {
		text := base64.StdEncoding.EncodeToString(key)
		if r.Keys[text]++; i == 0 {
			r.Primary[text]++
		}
	}
}

// The answer is a byte, 0 for an error whose text follows, 1 for success. After the success of ListKeys follow the number
// of all keys and those that fit, each a length and its bytes.

// keyAnswer does what a query asks and returns the answer.
func (k *Keyring) keyAnswer(payload []byte) []byte {
	if len(payload) == 0 {
		return append([]byte{0}, "the query is empty"...)
	}
	op, key := KeyOp(payload[0]), payload[1:]
	if k == nil {
		text := "No keyring to modify (encryption not enabled)"
		if op == ListKeys {
			text = "Keyring is empty (encryption not enabled)"
		}
		return append([]byte{0}, text...)
	}
	if op != ListKeys {
		if err := k.change(op, key); err != nil {
			return append([]byte{0}, err.Error()[:min(len(err.Error()), listLimit)]...)
		}
		return []byte{1}
	}
	keys := k.list()
	out := binary.AppendUvarint([]byte{1}, uint64(len(keys)))
	for _, key := range keys {
		if len(out)+1+len(key) > listLimit {
			break
		}
		out = append(append(out, byte(len(key))), key...)
	}
	return out
}

// readKeyAnswer returns the keys of an answer, and what is to be remarked of it; the error is the member's, or that it
// cannot be understood.
func readKeyAnswer(b []byte, op KeyOp) (keys [][]byte, remark string, err error) {
	if len(b) == 0 || b[0] > 1 {
		return nil, "", errors.New("the answer cannot be understood")
	}
	if b[0] == 0 {
		return nil, "", errors.New(string(b[1:]))
	}
	if op != ListKeys {
		return nil, "", nil
	}
	all, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return nil, "", errors.New("the answer cannot be understood")
	}
	for b = b[1+n:]; len(b) > 0; {
		size := int(b[0])
		if len(b) < 1+size {
			return nil, "", errors.New("the answer cannot be understood")
		}
		keys, b = append(keys, b[1:1+size]), b[1+size:]
	}
	if all > uint64(len(keys)) {
		remark = fmt.Sprintf("truncated key list response, showing first %d of %d keys", len(keys), all)
	}
	return keys, remark, nil
}

// answerKeys obeys queries for the keyring, one after the other, until the pool is closed.
func (p *Pool) answerKeys() {
	for {
		select {
		case q := <-p.keyAsks:
			begin := time.Now()
			answer := p.keyring.keyAnswer(q.Payload)
			if len(q.Payload) > 0 && KeyOp(q.Payload[0]) != ListKeys {
				p.log.log.Info("gossip: the keyring was to be changed", "operation", KeyOp(q.Payload[0]), "by", q.SourceNode(),
					"done", answer[0] == 1)
			}
			if err := q.Respond(answer); err != nil {
				p.log.log.Warn("gossip: cannot answer a question about the keyring", "from", q.SourceNode(), "error", err,
					"took", time.Since(begin))
			}
		case <-p.stop:
			return
		}
	}
}

// askedForKeys takes over a query for the keyring; false for any other.
func (p *Pool) askedForKeys(e serf.Event) bool {
	q, ok := e.(*serf.Query)
	if !ok || q.Name != keyQuery {
		return false
	}
	select {
	case p.keyAsks <- q:
	default:
		p.tally.note(kindKeyAsks, q.SourceNode(), "too many operations on the keyring at once", "limit", keyAsksLimit)
	}
	return true
}

// String returns the word of the command line for it.
func (o KeyOp) String() string {
	switch o {
	case ListKeys:
		return "list"
	case InstallKey:
		return "install"
	case UseKey:
		return "use"
	case RemoveKey:
		return "remove"
	}
	return fmt.Sprintf("operation(%d)", byte(o))
}
