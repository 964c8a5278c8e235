package topo

import "fmt"

// Answer says for which ports of a network ARP requests are answered.
type Answer uint8

// The answers.
const (
	AnswerBound    Answer = iota // for those that are on some host now
	AnswerDeclared               // for all that are declared, while they are down too
)

// ParseAnswer is the answer of that name: "bound" or "declared".
func ParseAnswer(name string) (Answer, error) {
	switch name {
	case "bound":
		return AnswerBound, nil
	case "declared":
		return AnswerDeclared, nil
	}
	return 0, fmt.Errorf("unknown answer %q; use bound or declared", name)
}

// String is the name.
func (a Answer) String() string {
	switch a {
	case AnswerBound:
		return "bound"
	case AnswerDeclared:
		return "declared"
	}
	return fmt.Sprintf("answer(%d)", uint8(a))
}

// MarshalText is the name; it fails for a value that is no answer.
func (a Answer) MarshalText() ([]byte, error) {
	if a > AnswerDeclared {
		return nil, fmt.Errorf("%d is no answer", uint8(a))
	}
	return []byte(a.String()), nil
}

// UnmarshalText takes what ParseAnswer takes.
func (a *Answer) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAnswer(string(text))
	return err
}
