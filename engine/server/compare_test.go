package server

import "testing"

// TestMarks: what a leader came to is compared with what this server has run itself, and with nothing else.
func TestMarks(t *testing.T) {
	var leader, same, late, other, shifted marks
	for i := uint64(1); i <= 10; i++ {
		leader.add(i, i, i*7)
		same.add(i, i, i*7)
		if i > 5 {
			late.add(i, i, i*7)
		}
		if i == 8 {
			other.add(i, i, 1)
		} else {
			other.add(i, i, i*7)
		}
		shifted.add(i, i+i/8, i*7)
	}
	leader.entries = compareEvery
	c, entry, due := leader.due()
	if !due || c.From != 1 || c.To != 10 || entry != 10 {
		t.Fatalf("due %v, %+v", due, c)
	}
	if _, _, again := leader.due(); again {
		t.Error("due twice")
	}
	for name, m := range map[string]struct {
		of          *marks
		same, known bool
	}{"same": {&same, true, true}, "late": {&late, false, false}, "other": {&other, false, true}, "shifted": {&shifted, false, true},
		"empty": {new(marks), false, false}} {
		if is, known := m.of.judge(&c); is != m.same || known != m.known {
			t.Errorf("%s: same %v, known %v", name, is, known)
		}
	}
}

// TestMarksAreBounded: only the newest are kept, and what is kept still compares.
func TestMarksAreBounded(t *testing.T) {
	var m, n marks
	for i := uint64(1); i <= 5*marksKept; i++ {
		m.add(i, i, i)
		n.add(i, i, i)
	}
	if len(m.list) > 2*marksKept {
		t.Errorf("%d marks", len(m.list))
	}
	c, _, due := m.due()
	if same, known := n.judge(&c); !due || !same || !known {
		t.Errorf("due %v, %+v", due, c)
	}
}

// TestNothingIsLeftOut: each comparison begins where the last one ended, whoever leads.
func TestNothingIsLeftOut(t *testing.T) {
	var leader, next marks
	step := func(from, to uint64) {
		for i := from; i <= to; i++ {
			leader.add(i, i, i*7)
			next.add(i, i, i*7)
		}
	}
	step(1, 3*compareEvery)
	first, _, _ := leader.due()
	for _, m := range []*marks{&leader, &next} {
		if same, known := m.judge(&first); !same || !known {
			t.Fatal("the same states differ")
		}
	}
	step(3*compareEvery+1, 6*compareEvery)
	if second, _, due := next.due(); !due || second.From != first.To || second.To != 6*compareEvery {
		t.Errorf("%+v follows %+v", second, first)
	}
}

// TestMostCommon: what most voters came to counts, the leader or not.
func TestMostCommon(t *testing.T) {
	for _, c := range []struct {
		what    string
		sums    map[string]uint64
		voters  int
		want    uint64
		certain bool
	}{
		{"alone", map[string]uint64{"own": 7}, 1, 7, true},
		{"all the same", map[string]uint64{"own": 7, "b": 7, "c": 7}, 3, 7, true},
		{"nobody answers", map[string]uint64{"own": 7}, 3, 7, true},
		{"a follower differs", map[string]uint64{"own": 7, "b": 8, "c": 7}, 3, 7, true},
		{"the leader differs", map[string]uint64{"own": 7, "b": 8, "c": 8}, 3, 8, true},
		{"two differ, one is silent", map[string]uint64{"own": 7, "b": 8}, 3, 7, false},
		{"all differ", map[string]uint64{"own": 7, "b": 8, "c": 9}, 3, 7, false},
		{"two of four", map[string]uint64{"own": 7, "b": 8, "c": 8, "d": 7}, 4, 7, false},
	} {
		if got, certain := mostCommon(c.sums, c.voters, 7); got != c.want || certain != c.certain {
			t.Errorf("%s: %d, %v", c.what, got, certain)
		}
	}
}
