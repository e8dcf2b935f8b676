package operator

import (
	"strconv"

	"rostra/engine/gossip"
	"rostra/kit/fault"
	"rostra/kit/httpd"
)

// maxRelay is how many members may carry an answer besides the one that gives it.
const maxRelay = 5

// readKeyring reads what a request wants of the keyrings; only is set for local-only.
func readKeyring(r *httpd.Request, op gossip.KeyOp) (ask keyringAsk, only bool, err error) {
	ask.Op = int(op)
	var body struct {
		Key, Token  string
		RelayFactor uint8
		LocalOnly   bool
	}
	if op != gossip.ListKeys {
		if err := r.Decode(&body, true); err != nil {
			return ask, false, err
		}
	}
	if text := r.Query("relay-factor"); text != "" {
		if ask.Relay, err = strconv.Atoi(text); err != nil {
			return ask, false, fault.New(fault.Invalid, "Error parsing relay factor: %v", err)
		}
		if ask.Relay < 0 || ask.Relay > maxRelay {
			return ask, false, fault.New(fault.Invalid, "Invalid relay-factor: Relay factor must be in range: [0, %d]", maxRelay)
		}
	}
	if text := r.Query("local-only"); text != "" {
		if only, err = strconv.ParseBool(text); err != nil {
			return ask, false, fault.New(fault.Invalid, "Error parsing local-only: %v", err)
		}
		if only && op != gossip.ListKeys {
			return ask, false, fault.New(fault.Invalid, "Invalid use of local-only: local-only can only be set for list requests")
		}
	}
	if op == gossip.ListKeys {
		return ask, only, nil
	}
	if ask.Key, err = gossip.ParseKey(body.Key); err != nil {
		return ask, false, fault.New(fault.Invalid, "Invalid key: %v", err)
	}
	return ask, false, nil
}
