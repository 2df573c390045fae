package sim

// NewRemote makes the adapter of kind http alone.
var NewRemote Adapter = newRemote

// Blank returns a text as an adapter would show it.
func Blank(p Platform, text string, most int) string { return p.(*remote).blank(text, most) }
