// Package console is the operator's side of a node: a JSON API that the command
// line uses, and a status page. It speaks plain HTTP on a loopback address and
// admits whoever holds the token, or the cookie that the page gets for it; it
// answers only to loopback host names and to those it is told, so that a web
// page elsewhere cannot reach it through a name of its own. It holds no rules:
// every operation is a hub's, done as its operator.
package console
