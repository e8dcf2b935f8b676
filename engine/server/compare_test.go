package server

import "testing"

// TestMarks: what a leader came to is compared with what this server has run itself, and with nothing else.
func TestMarks(t *testing.T) {
	var leader, same, late, other, shifted marks
	for i := uint64(1); i <= 10; i++ {
		leader.add(i, i*7)
		same.add(i, i*7)
		if i > 5 {
			late.add(i, i*7)
		}
		if i == 8 {
			other.add(i, 1)
		} else {
			other.add(i, i*7)
		}
		shifted.add(i+i/8, i*7)
	}
	leader.entries = compareEvery
	c, due := leader.due()
	if !due || c.From != 1 || c.To != 10 {
		t.Fatalf("due %v, %+v", due, c)
	}
	if _, again := leader.due(); again {
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
		m.add(i, i)
		n.add(i, i)
	}
	if len(m.list) > 2*marksKept {
		t.Errorf("%d marks", len(m.list))
	}
	c, due := m.due()
	if same, known := n.judge(&c); !due || !same || !known {
		t.Errorf("due %v, %+v", due, c)
	}
}
