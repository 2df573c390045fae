// Package node puts one process together: configuration, certificates,
// listeners, WebSockets, the choice of a surface by host name, and the order of
// start and stop. It decides nothing about devices.
package node
