package ignore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/client-go/util/jsonpath"
)

// translate turns Kubernetes JSONPath into a jq path expression, which can say where a value is and not only what
// it is.
func translate(text string) (string, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		text = "{" + text + "}"
	}
	parsed, err := jsonpath.Parse("ignore", text)
	if err != nil {
		return "", fmt.Errorf("parse: %w", err)
	}
	if len(parsed.Root.Nodes) != 1 {
		return "", errors.New("is not one path")
	}
	root, ok := parsed.Root.Nodes[0].(*jsonpath.ListNode)
	if !ok || len(root.Nodes) == 0 {
		return "", errors.New("is not a path")
	}
	return steps(root)
}

func steps(list *jsonpath.ListNode) (string, error) {
	out := []string{"."}
	for _, node := range list.Nodes {
		s, err := oneStep(node)
		if err != nil {
			return "", err
		}
		out = append(out, s)
	}
	return strings.Join(out, " | "), nil
}

func oneStep(node jsonpath.Node) (string, error) {
	switch n := node.(type) {
	case *jsonpath.FieldNode:
		return ".[" + quoted(n.Value) + "]?", nil
	case *jsonpath.WildcardNode:
		return ".[]?", nil
	case *jsonpath.RecursiveNode:
		return "..", nil
	case *jsonpath.ArrayNode:
		return elements(n.Params), nil
	case *jsonpath.UnionNode:
		return union(n)
	case *jsonpath.FilterNode:
		return filter(n)
	case *jsonpath.ListNode:
		s, err := steps(n)
		return "(" + s + ")", err
	default:
		return "", fmt.Errorf("%s leads nowhere", node)
	}
}

func elements(params [3]jsonpath.ParamsEntry) string {
	from, to, by := params[0], params[1], params[2]
	if to.Derived {
		return ".[" + strconv.Itoa(from.Value) + "]?"
	}
	start, end, stride := "0", "($l | length)", 1
	if from.Known {
		start = fromEnd(from.Value)
	}
	if to.Known {
		end = fromEnd(to.Value)
	}
	if by.Known {
		stride = by.Value
	}
	return fmt.Sprintf(`(select(type == "array") | . as $l | .[range(%s; %s; %d)])`, start, end, stride)
}

// fromEnd counts a negative index from the end of the list.
func fromEnd(i int) string {
	if i < 0 {
		return fmt.Sprintf("(($l | length) - %d)", -i)
	}
	return strconv.Itoa(i)
}

func union(n *jsonpath.UnionNode) (string, error) {
	var out []string
	for _, list := range n.Nodes {
		s, err := steps(list)
		if err != nil {
			return "", err
		}
		out = append(out, "("+s+")")
	}
	return "(" + strings.Join(out, ", ") + ")", nil
}

func filter(n *jsonpath.FilterNode) (string, error) {
	left, err := operand(n.Left)
	if err != nil {
		return "", err
	}
	test := fmt.Sprintf("([%s | select(. != null)] | length > 0)", left)
	if n.Operator != "exists" {
		right, err := operand(n.Right)
		if err != nil {
			return "", err
		}
		test = fmt.Sprintf("(first(%s) %s first(%s))", left, n.Operator, right)
	}
	return `(select(type == "array") | .[] | select(` + test + "))", nil
}

// operand is a value or a path from the element that is looked at.
func operand(list *jsonpath.ListNode) (string, error) {
	if len(list.Nodes) == 1 {
		switch n := list.Nodes[0].(type) {
		case *jsonpath.TextNode:
			return quoted(n.Text), nil
		case *jsonpath.IntNode:
			return strconv.Itoa(n.Value), nil
		case *jsonpath.FloatNode:
			return strconv.FormatFloat(n.Value, 'g', -1, 64), nil
		case *jsonpath.BoolNode:
			return strconv.FormatBool(n.Value), nil
		}
	}
	s, err := steps(list)
	return "(" + s + ")", err
}

// quoted is a text as jq writes it; a backslash before a bracket would start a computed part.
func quoted(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}
