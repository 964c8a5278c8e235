// Package cases is what the features of the pipeline are tested with: overlays that
// have them, and packets of which is declared what becomes of them. It is for tests;
// nothing that is installed imports it.
//
// Each file of a feature holds one function that adds to an overlay under construction
// what the feature needs, leaving open what does not matter to it (hosts, numbers, VLAN
// IDs, who else is in its networks), and that lists packets: where each comes in, its
// frame, who gets it and in which form, which features take it, and which nearly do.
// All that is declared holds for a feature alone and among all others, so each is held
// against each:
//
//   - flows/trace must make of every packet what is declared, over all hosts, and must
//     agree with a real Open vSwitch on it and on random packets near it;
//   - flows/verify must prove every overlay, also after random changes to it;
//   - pipeline.Recompile must follow those changes.
//
// # How to add a feature
//
//  1. Give it a number and a name in features.go of package pipeline, and write its rows.
//  2. Write a file here with a function that takes a builder: what must be there for the
//     feature to do something, and a line with b.packet for each thing that it does,
//     and for each that it nearly does (notBy). Add it to declarations in cases.go.
//  3. Where it needs something that no feature had, give builder a method for it. What
//     can change in it while it runs goes into change.go.
//  4. go test ./flows/... says what is not so. It also says for which feature and for
//     which kind of row there is no packet yet.
//  5. make differential compares a hundred thousand packets more with Open vSwitch.
package cases
