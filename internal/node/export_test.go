package node

// Hurry is hurry.
var Hurry = hurry
