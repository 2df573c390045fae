package sim

// WithAdapter has accounts of adapter http be made by f until the function it
// returns is called: tests stand in for platforms outside of the process.
func WithAdapter(f Adapter) (undo func()) {
	was := adapters[AdapterHTTP]
	adapters[AdapterHTTP] = f
	return func() { adapters[AdapterHTTP] = was }
}
