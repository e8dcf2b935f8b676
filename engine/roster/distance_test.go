package roster

import (
	"fmt"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		times []time.Duration
		want  time.Duration
	}{{nil, 99}, {[]time.Duration{7}, 7}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{9, 1, 2, 4}, 3}} {
		if got := median(c.times, 99); got != c.want {
			t.Errorf("%v: %d, want %d", c.times, got, c.want)
		}
	}
}

// TestDatacenters: the own one first, then the nearest; unknown distances are last and equal ones by name.
func TestDatacenters(t *testing.T) {
	far := map[string]time.Duration{"ber": 30, "lon": 10, "ams": 30, "zur": 10, "own": 50}
	others := []string{"new", "ber", "zur", "ams", "lon", "old"}
	got := nearest("own", others, func(dc string) time.Duration {
		if d, ok := far[dc]; ok {
			return d
		}
		return unknown
	})
	if text := fmt.Sprint(got); text != "[own lon zur ams ber new old]" {
		t.Error(text)
	}
	r := Of("b", Server{Datacenter: "c"}, Server{Datacenter: "a"}, Server{Datacenter: "b"})
	if text := fmt.Sprint(r.Datacenters()); text != "[b a c]" {
		t.Errorf("without gossip: %s", text)
	}
}
