package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/ofctl-lab/ofctl-lab/controller/api"
)

// unknownVersion is the version of a build that nobody has told one.
const unknownVersion = "unknown"

// version is set by the linker: -X main.version=…
var version = unknownVersion

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: "  ofctl-lab version\n  ofctl-lab version -o json",
		Args:    args(0, 0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			return a.emit(v, func(t *tables, _ format) {
				t.fields("version", v.Version, "commit", v.Commit, "go", v.Go, "api", v.API)
			})
		},
	}
	addOutputFlag(cmd)
	return cmd
}

// buildVersion is the version of this binary.
func buildVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), API: "v1"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}
