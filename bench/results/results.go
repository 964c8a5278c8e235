// Package results holds the results of the benchmarks that are committed, one file
// NAME.json each, beside its plot NAME.svg. make bench writes the former; the latter and
// docs/benchmarks.md are generated from them.
package results

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/ofctl-lab/ofctl-lab/bench/harness"
)

//go:generate go run ./page -plots . -page ../../docs/benchmarks.md

// The pattern takes the .json files; it takes .go files too because one that matches nothing
// does not compile, and there may be no result yet.
//
//go:embed *.[gj]*
var files embed.FS

// extension is that of the files with results.
const extension = ".json"

// Committed are the results of the source tree that this program was built from, by the name of
// the benchmark.
func Committed() (map[string]*harness.Result, error) { return Read(files) }

// Read reads every file NAME.json of a directory as the result of the benchmark NAME. Other files are left
// alone, and a directory without results is no error.
func Read(dir fs.FS) (map[string]*harness.Result, error) {
	names, err := fs.Glob(dir, "*"+extension)
	if err != nil {
		return nil, err
	}
	found := map[string]*harness.Result{}
	var errs []error
	for _, name := range names {
		res, err := read(dir, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		found[res.Benchmark] = res
	}
	return found, errors.Join(errs...)
}

// read reads one file, whose name has to be that of its benchmark, so that no two files are of one.
func read(dir fs.FS, name string) (*harness.Result, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	res, err := harness.ReadResult(f)
	if err != nil {
		return nil, err
	}
	if want := strings.TrimSuffix(path.Base(name), extension); res.Benchmark != want {
		return nil, fmt.Errorf("this is the result of benchmark %q; call the file %s%s", res.Benchmark, res.Benchmark, extension)
	}
	return res, nil
}
