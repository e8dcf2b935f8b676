package health

import (
	"slices"

	"rostra/feature/catalog"
	"rostra/kit/httpd"
)

// EntryList is the answer of health/service.
type EntryList []*Entry

// CheckList is the answer of health/node, checks and state.
type CheckList []*catalog.Check

// EntryView is what a filter sees of an entry.
type EntryView struct {
	Node    catalog.NodeView
	Service catalog.ServiceView
	Checks  []*catalog.CheckView
}

// AppendJSON appends the nested shape: the joined fragments of its records.
func (e *Entry) AppendJSON(b []byte) []byte {
	b = e.Node.AppendJSON(append(b, `{"Node":`...))
	b = e.Service.AppendJSON(append(b, `,"Service":`...))
	b = append(b, `,"Checks":[`...)
	for i, c := range e.Checks {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.AppendJSON(b)
	}
	return append(b, ']', '}')
}

// Abroad is the list as other datacenters reach its instances, of which a filter sees what they are at home.
func (l EntryList) Abroad() any { return httpd.ShownAs(l, l.Reached()) }

// Reached is the list as other datacenters reach its instances.
func (l EntryList) Reached() EntryList {
	told := make(EntryList, len(l))
	for i, e := range l {
		told[i] = &Entry{Node: e.Node.Abroad(), Service: e.Service.Abroad(), Checks: e.Checks}
	}
	return told
}

// Len returns the number of entries.
func (l EntryList) Len() int { return len(l) }

// Item returns what a filter sees of entry i.
func (l EntryList) Item(i int) any {
	v := &EntryView{Node: *l[i].Node.View(), Service: *l[i].Service.View()}
	for _, c := range l[i].Checks {
		v.Checks = append(v.Checks, c.View())
	}
	return v
}

// AppendItem appends entry i.
func (l EntryList) AppendItem(b []byte, i int) []byte { return l[i].AppendJSON(b) }

// NodeAt returns the node of entry i.
func (l EntryList) NodeAt(i int) string { return l[i].Node.Node }

// AppendJSON appends the array.
func (l EntryList) AppendJSON(b []byte) []byte {
	b = append(b, '[')
	for i, e := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.AppendJSON(b)
		if i == 0 {
			b = slices.Grow(b, len(l)*(len(b)+16)) // entries are alike: one allocation instead of ten
		}
	}
	return append(b, ']')
}

// Equal reports whether both lists hold the very same records.
func (l EntryList) Equal(other any) bool {
	o, ok := other.(EntryList)
	return ok && slices.EqualFunc(l, o, func(a, b *Entry) bool {
		return a.Node == b.Node && a.Service == b.Service && slices.Equal(a.Checks, b.Checks)
	})
}

// Len returns the number of checks.
func (l CheckList) Len() int { return len(l) }

// Item returns what a filter sees of check i.
func (l CheckList) Item(i int) any { return l[i].View() }

// AppendItem appends check i.
func (l CheckList) AppendItem(b []byte, i int) []byte { return l[i].AppendJSON(b) }

// NodeAt returns the node of check i.
func (l CheckList) NodeAt(i int) string { return l[i].Node }

// AppendJSON appends the array.
func (l CheckList) AppendJSON(b []byte) []byte {
	return httpd.AppendArray(b, l)
}

// Equal reports whether both lists hold the very same records.
func (l CheckList) Equal(other any) bool {
	o, ok := other.(CheckList)
	return ok && slices.Equal(l, o)
}
