package api

import (
	"fmt"
	"net/http"
	"strings"
)

// Problem is an error as a problem document (RFC 9457, application/problem+json).
// It is what Client returns for every answer that is not a success.
type Problem struct {
	Type   string          `json:"type,omitempty" doc:"Always about:blank: the status says the kind"`
	Title  string          `json:"title" doc:"Short summary of the status"`
	Status int             `json:"status" doc:"HTTP status"`
	Detail string          `json:"detail,omitempty" doc:"What went wrong"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"Every single thing that is wrong"`
}

// ProblemDetail is one of the things that are wrong.
type ProblemDetail struct {
	Message  string `json:"message" doc:"What is wrong"`
	Location string `json:"location,omitempty" doc:"Where: file:line:column, an object such as 'port red-a', or a field of the request"`
	Hint     string `json:"hint,omitempty" doc:"What to do about it"`
}

// NewProblem is a Problem with the given HTTP status.
func NewProblem(status int, detail string, errs ...ProblemDetail) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs}
}

// Error says what, where and what to do, one line per detail.
func (p *Problem) Error() string {
	if len(p.Errors) == 0 {
		if p.Detail != "" {
			return p.Detail
		}
		return fmt.Sprintf("%d %s", p.Status, p.Title)
	}
	lines := make([]string, 0, len(p.Errors)+1)
	if p.Detail != "" {
		lines = append(lines, p.Detail)
	}
	for _, e := range p.Errors {
		lines = append(lines, e.String())
	}
	return strings.Join(lines, "\n")
}

// String is "location: message, hint" without the parts that are empty.
func (d ProblemDetail) String() string {
	s := d.Message
	if d.Location != "" {
		s = d.Location + ": " + s
	}
	if d.Hint != "" {
		s += ", " + d.Hint
	}
	return s
}

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of a problem document in place of ct.
func (p *Problem) ContentType(ct string) string {
	return strings.Replace(ct, "application/", "application/problem+", 1)
}
