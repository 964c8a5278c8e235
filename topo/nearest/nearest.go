// Package nearest finds the word that somebody probably meant, for the hints of
// every error about an unknown name. It is below topo because topo may import
// nothing outside and everything may import topo.
package nearest

// maxLength bounds the words that are compared.
const maxLength = 160

// To is the candidate that takes the fewest edits to become word (inserting,
// deleting, replacing or swapping two neighbouring bytes), the first of several;
// "" if none is within a third of its length.
func To(word string, candidates []string) string {
	best, bestEdits := "", len(word)/3+1
	if len(word) == 0 || len(word) > maxLength {
		return ""
	}
	for _, c := range candidates {
		if d := len(c) - len(word); d >= bestEdits || -d >= bestEdits {
			continue
		}
		if n := edits(word, c); n < bestEdits {
			best, bestEdits = c, n
		}
	}
	return best
}

// edits is the optimal string alignment distance.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
