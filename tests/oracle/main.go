// Reads raw requests as a Forgejo does, with Go's own library and Forgejo's rules for choosing a decoder and binding a
// form, and says which guarded field it sees in each. Where versions differ it takes the more forgiving reading.
//
// Standard input: requests, each with its length before it (four bytes, big-endian). Standard output: a line for each,
// empty when there is nothing guarded in it.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// What any of the option structs has of guarded members. A pointer or a nil slice tells absent from empty.
type options struct {
	Assignee  *string       `json:"assignee"`
	Assignees []string      `json:"assignees"`
	State     *string       `json:"state"`
	Labels    []interface{} `json:"labels"`
	Title     interface{}   `json:"title"`
	Body      interface{}   `json:"body"`
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
		fmt.Fprintln(out, strings.Join(sees(in[4:4+size]), ","))
		in = in[4+size:]
	}
}

func sees(raw []byte) []string {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil
	}
	kind, rest := route(request.URL.EscapedPath())
	switch {
	case kind == "":
		return nil
	case rest == "labels/one" && request.Method == "DELETE", rest == "labels" && request.Method == "DELETE":
		return []string{"labels"}
	case rest == "labels" && request.Method == "PUT":
		// Whatever it says: with nothing in it, it takes all of them away.
		if _, err := bind(request); err != nil {
			return nil
		}
		return []string{"labels"}
	case rest == "labels" && request.Method == "POST":
		if bound, err := bind(request); err == nil && len(bound.Labels) > 0 {
			return []string{"labels"}
		}
	case rest == "assignees" && (request.Method == "POST" || request.Method == "DELETE"):
		if bound, err := bind(request); err == nil && len(bound.Assignees) > 0 {
			return []string{"assignees"}
		}
	case rest == "" && request.Method == "PATCH":
		if bound, err := bind(request); err == nil {
			return edited(kind, bound)
		}
	case rest == "create" && request.Method == "POST":
		bound, err := bind(request)
		if err == nil && (named(bound.Assignees) || bound.Assignee != nil && *bound.Assignee != "") {
			return []string{"assignees"}
		}
	}
	return nil
}

// A creation takes empty names for none (Forgejo's assignees.go).
func named(assignees []string) bool {
	for _, name := range assignees {
		if name != "" {
			return true
		}
	}
	return false
}

func edited(kind string, bound *options) (seen []string) {
	// The pull's `assignee` is no pointer: empty is as good as absent.
	single := bound.Assignee != nil && (kind == "issues" || *bound.Assignee != "")
	if single || bound.Assignees != nil {
		seen = append(seen, "assignees")
	}
	if bound.State != nil {
		seen = append(seen, "state")
	}
	if kind == "pulls" && bound.Labels != nil {
		seen = append(seen, "labels")
	}
	return seen
}

// The kind of item and what below it is meant. Literals are compared as they are written, parameters are decoded.
func route(path string) (kind, rest string) {
	var parts []string
	for _, part := range strings.Split(path, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) < 6 || parts[0] != "api" || parts[1] != "v1" || parts[2] != "repos" {
		return "", ""
	}
	kind = parts[5]
	if kind != "issues" && kind != "pulls" {
		return "", ""
	}
	if len(parts) == 6 {
		return kind, "create"
	}
	index, err := url.PathUnescape(parts[6])
	if err != nil {
		return "", ""
	}
	if _, err := strconv.ParseInt(index, 10, 64); err != nil {
		return "", ""
	}
	switch {
	case len(parts) == 7:
		return kind, ""
	case kind == "issues" && len(parts) == 8 && (parts[7] == "labels" || parts[7] == "assignees"):
		return kind, parts[7]
	case kind == "issues" && len(parts) == 9 && parts[7] == "labels":
		return kind, "labels/one"
	}
	return "", ""
}

// Forgejo's choice of a decoder: by a part of the first Content-Type's text, in this order.
func bind(request *http.Request) (*options, error) {
	contentType := request.Header.Get("Content-Type")
	needed := request.Method == "POST" || request.Method == "PUT"
	switch {
	case contentType == "" && needed:
		return nil, errors.New("empty Content-Type")
	case contentType == "" || strings.Contains(contentType, "form-urlencoded"):
		// Broken pairs are left out, the others count.
		_ = request.ParseForm()
		return fromForm(request.Form), nil
	case strings.Contains(contentType, "multipart/form-data"):
		if err := request.ParseMultipartForm(10 << 20); err != nil {
			return nil, err
		}
		return fromForm(request.MultipartForm.Value), nil
	case strings.Contains(contentType, "json"):
		bound := new(options)
		err := json.NewDecoder(request.Body).Decode(bound)
		var misfit *json.UnmarshalTypeError
		if err == nil || errors.Is(err, io.EOF) || errors.As(err, &misfit) {
			// The other members are set; that the call is answered 422 is the tracker's kindness.
			return bound, nil
		}
		return nil, err
	}
	return nil, errors.New("unsupported Content-Type")
}

func fromForm(values url.Values) *options {
	bound := &options{Assignees: values["assignees"]}
	for _, label := range values["labels"] {
		bound.Labels = append(bound.Labels, label)
	}
	if one, there := values["assignee"]; there {
		bound.Assignee = &one[0]
	}
	if one, there := values["state"]; there {
		bound.State = &one[0]
	}
	return bound
}
