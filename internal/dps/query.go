package dps

import (
	"slices"
	"strings"
)

// query is a parsed query specification; the zero value selects everything
// (dps 3.6).
type query struct {
	where *condition
}

// Limits of a query, so that its evaluation stays cheap.
const (
	maxQueryDepth = 32  // nested parentheses
	maxQueryTerms = 200 // comparisons and elements of lists
)

// parseQuery reads SELECT * FROM source [WHERE …]; source is the collection's
// name in the grammar. An empty text, a bare star and a query without FROM,
// which some tools send, select everything. It answers ArgumentInvalid with the
// place.
func parseQuery(text, source string) (*query, error) {
	p := &queryParser{lexer: lexer{s: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	q := &query{}
	if p.now.kind == tokenEnd {
		return q, nil
	}
	if err := p.head(source); err != nil {
		return nil, err
	}
	if p.now.is("WHERE") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		var err error
		if q.where, err = p.expression(1); err != nil {
			return nil, err
		}
	}
	if p.now.kind != tokenEnd {
		return nil, p.unexpected("the end, AND or OR")
	}
	return q, nil
}

// queryParser is a Pratt parser over two levels of binding: AND and OR.
type queryParser struct {
	lexer lexer
	now   token
	depth int
	terms int
}

func (p *queryParser) advance() (err error) {
	p.now, err = p.lexer.next()
	return err
}

func (p *queryParser) unexpected(want string) error {
	if p.now.kind == tokenEnd {
		return badQuery(p.now.at, "it ends where %s is expected", want)
	}
	return badQuery(p.now.at, "expected is %s", want)
}

// want takes the word or sign.
func (p *queryParser) want(text string) error {
	if !p.now.is(text) {
		return p.unexpected(text)
	}
	return p.advance()
}

func (p *queryParser) head(source string) error {
	if p.now.is("*") {
		return p.advance()
	}
	if err := p.want("SELECT"); err != nil {
		return err
	}
	if err := p.want("*"); err != nil {
		return err
	}
	if !p.now.is("FROM") {
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	return p.want(source)
}

// power returns how tightly the operator binds its sides, 0 for none.
func (t token) power() int {
	switch {
	case t.is("OR"):
		return 1
	case t.is("AND"):
		return 2
	}
	return 0
}

// expression reads what binds at least as tightly as least.
func (p *queryParser) expression(least int) (*condition, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	for {
		power := p.now.power()
		if power == 0 || power < least {
			return left, nil
		}
		op := strings.ToUpper(p.now.text)
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.expression(power + 1)
		if err != nil {
			return nil, err
		}
		left = &condition{op: op, left: left, right: right}
	}
}

// operand reads a comparison, a call of STARTSWITH or parentheses.
func (p *queryParser) operand() (*condition, error) {
	switch {
	case p.now.is("("):
		if p.depth++; p.depth > maxQueryDepth {
			return nil, badQuery(p.now.at, "parentheses are nested deeper than %d levels", maxQueryDepth)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		c, err := p.expression(1)
		if err != nil {
			return nil, err
		}
		p.depth--
		return c, p.want(")")
	case p.now.kind != tokenWord || p.now.power() != 0:
		return nil, p.unexpected("a member name")
	}
	name := p.now
	if err := p.advance(); err != nil {
		return nil, err
	}
	if name.is("STARTSWITH") && p.now.is("(") {
		return p.prefix()
	}
	return p.comparison(name)
}

// prefix reads (member, 'text').
func (p *queryParser) prefix() (*condition, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.now.kind != tokenWord {
		return nil, p.unexpected("a member name")
	}
	path, err := p.path(p.now)
	if err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.want(","); err != nil {
		return nil, err
	}
	if p.now.kind != tokenText {
		return nil, p.unexpected("a text")
	}
	v, err := p.literal()
	if err != nil {
		return nil, err
	}
	return &condition{op: "STARTSWITH", path: path, values: []any{v}}, p.want(")")
}

var comparisons = []string{"=", "!=", "<>", "<", ">", "<=", ">="}

// comparison reads what follows a member name.
func (p *queryParser) comparison(name token) (*condition, error) {
	path, err := p.path(name)
	if err != nil {
		return nil, err
	}
	op := p.now
	switch {
	case op.is("IN"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		values, err := p.list()
		return &condition{op: "IN", path: path, values: values}, err
	case op.kind != tokenSign || !slices.Contains(comparisons, op.text):
		return nil, p.unexpected("a comparison")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	v, err := p.literal()
	if op.text == "<>" {
		op.text = "!="
	}
	return &condition{op: op.text, path: path, values: []any{v}}, err
}

func (p *queryParser) path(name token) ([]string, error) {
	path := strings.Split(name.text, ".")
	if slices.Contains(path, "") {
		return nil, badQuery(name.at, "the member name %q has an empty part", name.text)
	}
	return path, nil
}

// list reads [literal, …]; it has at least one element.
func (p *queryParser) list() (values []any, err error) {
	if err := p.want("["); err != nil {
		return nil, err
	}
	for {
		v, err := p.literal()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if !p.now.is(",") {
			return values, p.want("]")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

// literal reads a string, float64 or bool.
func (p *queryParser) literal() (v any, err error) {
	if p.terms++; p.terms > maxQueryTerms {
		return nil, badQuery(p.now.at, "it has more than %d literals", maxQueryTerms)
	}
	switch {
	case p.now.kind == tokenText:
		v = p.now.text
	case p.now.kind == tokenNumber:
		v = p.now.number
	case p.now.is("true"), p.now.is("false"):
		v = p.now.is("true")
	default:
		return nil, p.unexpected("a text in quotes, a number, true or false")
	}
	return v, p.advance()
}
