package cli

import (
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Columns lays rows out as Consul's tables: each column as wide as its widest cell plus two blanks, the last one
// unpadded, cells trimmed. Every line ends with a newline; no rows give "". Rows must have equally many cells.
func Columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(strings.TrimSpace(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			cell = strings.TrimSpace(cell)
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Tabs writes rows with every cell but the last padded to its column's widest plus six blanks. Unlike Columns, only
// neighbouring rows that have a column share its width, and a newline inside a cell starts a new line.
func Tabs(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 2, 6, ' ', 0)
	for _, row := range rows {
		if _, err := io.WriteString(tw, strings.Join(row, "\t")+"\n"); err != nil {
			return err
		}
	}
	return tw.Flush()
}
