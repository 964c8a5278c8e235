package probe

import "context"

// cacheFeatures are how faithfully the datapath's cache follows the tables.
func cacheFeatures() []Feature {
	return []Feature{{
		Name: "cache-follows", Title: "cached flows follow a change of the tables", Need: Known, For: "isolation, see stale-datapath.md",
		trial: trial{tryCache},
	}}
}

// tryCache takes the steps of docs/explanation/stale-datapath.md.
func tryCache(ctx context.Context, s *scratch) (string, error) {
	const (
		from  = "table=1,priority=20,dl_src=02:be:00:00:00:01,dl_dst=02:be:00:00:00:02"
		other = "table=1,priority=20,dl_src=02:be:00:00:00:04,dl_dst=02:be:00:00:00:02"
		any   = "table=1,priority=10,dl_dst=02:be:00:00:00:02"
	)
	toE := packet{kind: 0x88b6, to: mac(5), src: addrA, dst: addrB}
	toD := packet{kind: 0x88b7, src: addrA, dst: addrB}
	third := packet{kind: 0x88b7, from: mac(3), src: addrA, dst: addrB}
	settle := func() error {
		_, err := s.c.Appctl(ctx, "revalidator/wait")
		return err
	}
	change := func(command string, flow ...string) error {
		if command == "add-flows" {
			if err := s.install(ctx, flows(flow...)); err != nil {
				return err
			}
		} else if _, err := s.c.Ofctl(ctx, bridge, command, flow...); err != nil {
			return err
		}
		return settle()
	}
	sent := func(p packet, want string) func() error {
		return func() error { return s.step(ctx, arrives(p1, p, p2, want)) }
	}
	for _, do := range []func() error{
		func() error {
			return change("add-flows", "table=0,priority=2,in_port=1,dl_type=0x88b6,actions=resubmit(,2)", "table=0,priority=1,in_port=1,actions=resubmit(,1)",
				"table=2,dl_dst=02:be:00:00:00:05,actions=output:2")
		},
		sent(toE, "dl_dst=02:be:00:00:00:05"),
		func() error { return change("add-flows", from+",actions=output:2", any+",actions=output:2") },
		sent(toD, "dl_src="+macA.String()),
		func() error { return change("del-flows", "--strict", from) },
		sent(third, "dl_src="+mac(3).String()),
		func() error { return change("add-flows", any+",actions=output:3") },
		func() error { return change("add-flows", other+",actions=drop") },
	} {
		if err := do(); err != nil {
			return "", err
		}
	}
	return "", s.step(ctx, arrives(p1, toD, p3, "dl_src="+macA.String()).unlessAt(p2))
}
