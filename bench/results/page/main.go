// Command page writes docs/benchmarks.md and the plots from the committed results. go generate ./bench/results runs it.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/ofctl-lab/ofctl-lab/bench/results"
	"github.com/ofctl-lab/ofctl-lab/bench/suite"
)

func main() {
	plots := flag.String("plots", ".", "`directory` that the plots are written to")
	file := flag.String("page", "", "`file` that the page is written to")
	flag.Parse()
	if err := write(*plots, *file); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func write(plots, file string) error {
	committed, err := results.Committed()
	if err != nil {
		return fmt.Errorf("bench/results: %w", err)
	}
	p, err := newPage(suite.All(), committed)
	if err != nil {
		return err
	}
	if err := p.plot(plots); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := p.write(&b); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
