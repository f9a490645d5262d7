// Binds bodies as the versions of the tracker do, each with the JSON library that it has, and says which guarded fields
// come out set.
//
// Standard input: bodies, each with its length before it (four bytes, big-endian). Standard output: for each a line of
// JSON, an object by library; a library that gives an error is left out.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	stdlib "encoding/json"
	"fmt"
	"io"
	"os"

	goccy "github.com/goccy/go-json"
	jsoniter "github.com/json-iterator/go"
)

// EditIssueOption of Gitea 1.15 to 1.26 and Forgejo 7 to 15. jsoniter takes another way for more than ten members.
type edit struct {
	Title          string   `json:"title"`
	Body           *string  `json:"body"`
	Ref            *string  `json:"ref"`
	Assignee       *string  `json:"assignee"`
	Assignees      []string `json:"assignees"`
	Milestone      *int64   `json:"milestone"`
	State          *string  `json:"state"`
	Deadline       *string  `json:"due_date"`
	RemoveDeadline *bool    `json:"unset_due_date"`
}

type guarded struct {
	Assignee  *string  `json:"assignee"`
	Assignees []string `json:"assignees"`
	State     *string  `json:"state"`
}

type decoder interface{ Decode(any) error }

var libraries = map[string]func(io.Reader) decoder{
	"encoding/json": func(body io.Reader) decoder { return stdlib.NewDecoder(body) },
	"goccy":         func(body io.Reader) decoder { return goccy.NewDecoder(body) },
	"jsoniter":      func(body io.Reader) decoder { return jsoniter.NewDecoder(body) },
}

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for len(in) >= 4 {
		size := binary.BigEndian.Uint32(in)
		line, _ := stdlib.Marshal(bind(in[4 : 4+size]))
		fmt.Fprintln(out, string(line))
		in = in[4+size:]
	}
}

func bind(body []byte) map[string]guarded {
	all := map[string]guarded{}
	for name, library := range libraries {
		var bound edit
		if err := library(bytes.NewReader(body)).Decode(&bound); err == nil {
			all[name] = guarded{bound.Assignee, bound.Assignees, bound.State}
		}
	}
	return all
}
