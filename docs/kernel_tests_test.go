package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each test of the packages that run on the kernel's datapath is in the whole list or is left
// out for a reason, and the lists name no test that is not there.
func TestKernelTests(t *testing.T) {
	type row struct {
		list, pkg string
		test      *regexp.Regexp
		found     bool
	}
	var rows []*row
	for _, list := range []string{"smoke", "all", "none"} {
		out, err := exec.Command("../.ci/kernel-tests", list).Output()
		if err != nil {
			t.Fatalf(".ci/kernel-tests %s: %v", list, err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) < 2 || list == "none" && (len(f) < 4 || f[2] != "#") {
				t.Fatalf(".ci/kernel-tests %s: %q; want a package and an expression, and in none # and a reason", list, line)
			}
			// As go test does: what is behind a slash is for the tests within.
			name, _, _ := strings.Cut(f[1], "/")
			re, err := regexp.Compile(name)
			if err != nil {
				t.Fatalf(".ci/kernel-tests %s: %v", list, err)
			}
			rows = append(rows, &row{list: list, pkg: f[0], test: re})
		}
	}
	var packages []string
	for _, r := range rows {
		packages = append(packages, r.pkg)
	}
	slices.Sort(packages)
	for _, pkg := range slices.Compact(packages) {
		for _, test := range testsOf(t, pkg) {
			in := map[string]int{}
			for _, r := range rows {
				if r.pkg == pkg && r.test.MatchString(test) {
					r.found = true
					in[r.list]++
				}
			}
			if in["all"]+in["none"] != 1 {
				t.Errorf("%s %s is %d times in the list all and %d times in none of .ci/kernel-tests; give it a row in one", pkg, test, in["all"], in["none"])
			}
		}
	}
	for _, r := range rows {
		if !r.found {
			t.Errorf(".ci/kernel-tests %s: %s has no test %s", r.list, r.pkg, r.test)
		}
	}
}

// testsOf are the names of a package's tests.
func testsOf(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`).FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
